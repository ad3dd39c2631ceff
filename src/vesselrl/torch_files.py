"""Files that `torch.save` wrote, read so that nothing in them runs and nothing in them grows."""

import pickletools
import zipfile
from typing import IO, Any

_BUILDERS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}


def read_torch(stream: IO[bytes]) -> Any:
    """Tensors, on the CPU, and plain values (numbers, texts, lists, dicts of them).

    Such a file is a zip archive with a pickle inside. torch's ``weights_only`` runs no code of it,
    but lets a few bytes ask for any amount of memory: by compressed tensors, which torch does not
    write, by types that can be made of any size, and by tensors that show what is stored again and
    again, which every copy of them would hold. So the archive may hold no more than its own size,
    its pickle may name nothing but tensors, and no tensor may have more values than are stored.

    Args:
        stream: of the file, from its beginning; it can be sought.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    import torch

    try:
        _refuse_what_grows(stream)
        stream.seek(0)
        loaded = torch.load(stream, map_location="cpu", weights_only=True)
        _refuse_repetition(loaded)
        return loaded
    # torch raises errors of many kinds on damaged files, as pickle and zipfile do.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _refuse_what_grows(stream: IO[bytes]) -> None:
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > stream.seek(0, 2):
            raise ValueError("the archive unpacks to more than its own size")
        for member in members:
            if member.filename.endswith(".pkl"):
                _refuse_other_types(archive.read(member))


def _refuse_other_types(pickled: bytes) -> None:
    for code, name, _ in pickletools.genops(pickled):
        is_known = name in _BUILDERS or (
            isinstance(name, str) and name.startswith("torch ") and name.endswith("Storage")
        )
        if code.name in ("STACK_GLOBAL", "INST") or (code.name == "GLOBAL" and not is_known):
            raise ValueError(f"{name or code.name} is neither a tensor nor a plain value")


def _refuse_repetition(loaded: Any) -> None:
    import torch

    seen: set[int] = set()  # a few bytes may nest one list in itself, or many times in another
    left = [loaded]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if value.nbytes > value.untyped_storage().nbytes():
                raise ValueError(f"a tensor of {value.numel():,} values of which fewer are stored")
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
