"""Files that `torch.save` wrote, read so that nothing in them runs and nothing in them grows."""

import pickletools
import zipfile
from typing import IO, Any

_BUILDERS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}


def read_torch(stream: IO[bytes]) -> Any:
    """Tensors, on the CPU, and plain values (numbers, texts, lists, dicts of them).

    Such a file is a zip archive with a pickle inside. torch's ``weights_only`` runs no code of it,
    but lets a few bytes ask for any amount of memory: by compressed tensors, which torch does not
    write, and by types that can be made of any size. So the archive may hold no more than its own
    size, and its pickle may name nothing but tensors.

    Args:
        stream: of the file, from its beginning; it can be sought.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    import torch

    try:
        _refuse_what_grows(stream)
        stream.seek(0)
        return torch.load(stream, map_location="cpu", weights_only=True)
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
