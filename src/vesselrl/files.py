"""Writing files so that a reader never sees half of one."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

UNFINISHED = ".part"
"""Ending of hidden files that become others once they are complete."""
LOCK = ".vesselrl.lock"
"""In a folder that a run writes to, as long as it does."""
_LEFT = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(UNFINISHED)}")  # as `tempfile` calls them


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any], mode: int = 0o644) -> None:
    """Write a file through a temporary neighbour that replaces it once complete.

    Args:
        path: the file; its folder is made if need be.
        write: receives the binary stream to write to.
        mode: who may read and write the file.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:40]}."  # the longest name that a file may have leaves no room
    handle, temporary = tempfile.mkstemp(UNFINISHED, prefix, path.parent)
    try:
        with naming(path):
            with os.fdopen(handle, "wb") as stream:
                write(stream)
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in what goes wrong while it is written: a stream does not know its own name."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what runs that were killed left half-written, but not in folders others write to."""
    for parent, folders, files in os.walk(folder):
        if Path(parent) != folder and LOCK in files:
            folders.clear()
            continue
        for name in filter(_LEFT.fullmatch, files):
            (Path(parent) / name).unlink()


def unused(path: Path, is_used: Callable[[Path], bool] = Path.exists) -> Path:
    """The path, or the first with a number after its stem that is not used yet.

    For names that hold the time: a clock that is set back shows the same time again.
    """
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not is_used(one))


def writer_of(data: bytes) -> Callable[[IO[bytes]], Any]:
    """What `write_atomically` needs to write bytes that are there."""
    return lambda stream: stream.write(data)
