"""Files of named arrays (``.npz``), compressed, and read so that nothing in them runs."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError

LARGEST = 2**32
"""Bytes of all arrays of a file: the maps of an image of 50 million pixels are far from it."""
_LEVEL = 1
"""Of compression: half the time of the usual 6, which `np.savez_compressed` takes, for probability
maps a tenth larger."""
_DAMAGED = (
    OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, SyntaxError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def write_arrays(stream: IO[bytes], arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write arrays, compressed; the same arrays make the same bytes.

    Raises:
        ValueError: one holds Python objects, see `read_arrays`.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Some arrays of a file, all of them without names.

    Arrays of Python objects are refused: to read them would run code from the file (pickle).

    Raises:
        KeyError: there is no such array in it.
        VesselrlError: there is no such file, it is damaged, or unpacks to more than `LARGEST`
            bytes.
    """
    with _opened(path) as file:
        return {name: file[name] for name in names or file.files}


def names_of_arrays(path: Path) -> list[str]:
    """The names of a file's arrays; errors are those of `read_arrays`."""
    with _opened(path) as file:
        return list(file.files)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
        with np.load(path, allow_pickle=False) as file:
            yield file
    except _DAMAGED as error:
        raise VesselrlError(
            f"{path} cannot be read as arrays of vesselrl ({type(error).__name__}: {error!s:.200}):"
            " delete it, and the next run makes it again."
        ) from error
