"""Writing files so that a reader never sees half of one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any], mode: int = 0o644) -> None:
    """Write a file through a temporary neighbour that replaces it once complete.

    Args:
        path: the file; its folder is made if need be.
        write: receives the binary stream to write to.
        mode: who may read and write the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:40]}."  # the longest name that a file may have leaves no room
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def writer_of(data: bytes) -> Callable[[IO[bytes]], Any]:
    """What `write_atomically` needs to write bytes that are there."""
    return lambda stream: stream.write(data)
