"""What tells a model's weights from others', without reading all of them.

A model has tens of gigabytes, and its fine-tuned sisters have files of the same names and sizes. So
the small files are read whole, and of every tensor a few numbers: training changes some number of
almost every tensor that it trains.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from vesselrl.errors import VesselrlError

SMALL = 2**20
"""Files of fewer bytes are read whole."""
SAMPLE = 128
"""Bytes read from the middle of every tensor."""
WEIGHTS = ".safetensors"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files of a folder of adapters, as ``peft`` names them."""


def identity_of(path: str, revision: str | None) -> str:
    """A text that differs if the model does, not if its folder is moved.

    Args:
        path: a folder, or an id on the hub.
        revision: the commit on the hub.

    Returns:
        The id and commit of a model of the hub; of a folder 16 hexadecimal digits.

    Raises:
        VesselrlError: a file of weights is not whole.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return f"{path}@{revision}"
    files = sorted(one for one in folder.iterdir() if one.is_file() and not _is_aside(one.name))
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return _identity(folder, tuple(states))


def identity_of_adapters(folder: str) -> str:
    """The same of a folder of adapters, by the content of its two files.

    Raises:
        OSError: one of them is missing.
    """
    content = hashlib.sha256()
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        content.update((Path(folder).expanduser() / name).read_bytes())
    return content.hexdigest()[:16]


def _is_aside(name: str) -> bool:
    """Whether a file has no part in what the model answers."""
    return name.startswith(".") or name.endswith(".md")


@lru_cache(maxsize=8)
def _identity(folder: Path, states: tuple[tuple[str, int, int], ...]) -> str:
    """Hash of the files' names and contents; remembered while their states stay the same."""
    whole = hashlib.sha256()
    for name, size, changed in states:
        file = folder / name
        if name.endswith(WEIGHTS):
            content = _digest_of_tensors(file)
        elif size < SMALL:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        else:  # weights in another format, tokenizers
            content = f"{size} {changed}"
        whole.update(f"{name} {content}\n".encode())
    return whole.hexdigest()[:16]


def _digest_of_tensors(file: Path) -> str:
    """Hash of a safetensors file's header and of some numbers of each of its tensors."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        size = file.stat().st_size
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if 8 + length <= size else b"{}"
        digest.update(header)
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        places = sorted(tensor["data_offsets"] for tensor in tensors.values())
        if 8 + length + (places[-1][1] if places else 0) != size:
            raise VesselrlError(
                f"{file} has {size:,} bytes and is no whole file of weights: download it again (in "
                "a clone of a repository they come with git lfs pull)."
            )
        for begin, end in places:
            stream.seek(8 + length + begin + max(0, end - begin - SAMPLE) // 2)
            digest.update(stream.read(min(SAMPLE, end - begin)))
    return digest.hexdigest()
