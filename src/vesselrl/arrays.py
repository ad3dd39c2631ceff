"""Files of named arrays (``.npz``), compressed, and read so that nothing in them runs."""

import io
import lzma
import tokenize
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
"""Of compression: half the time of the usual 6, which `np.savez_compressed` takes; files are a
tenth to a third larger, those of soft maps the least."""
_ENDING = ".npy"  # of an array within the file
_DAMAGED = (
    OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, SyntaxError,
    OverflowError, IndexError, tokenize.TokenError,  # of NumPy, which reads headers as Python
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


def write_arrays(stream: IO[bytes], arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write arrays, compressed; the same arrays make the same bytes.

    Other threads can work meanwhile: nothing large is copied, and the file is written at once.

    Raises:
        ValueError: one holds Python objects, see `read_arrays`.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(name + _ENDING, "w", force_zip64=True) as member:
                _write(member, np.asarray(array, order="C"))
    stream.write(content.getbuffer())


def _write(member: IO[bytes], array: npt.NDArray[Any]) -> None:
    if array.dtype.hasobject:
        raise ValueError("Object arrays cannot be written: only numbers and texts can.")
    np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(array))
    member.write(array.reshape(-1).view(np.uint8).data)


def read_arrays(path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Some arrays of a file, all of them without names.

    Arrays of Python objects are refused: to read them would run code from the file (pickle).

    Raises:
        KeyError: there is no such array in it.
        VesselrlError: there is no such file, it is damaged, or unpacks to more than `LARGEST`
            bytes.
    """
    with _opened(path) as archive:
        return {name: _read(archive, name) for name in names or _names(archive)}


def names_of_arrays(path: Path) -> list[str]:
    """The names of a file's arrays; errors are those of `read_arrays`."""
    with _opened(path) as archive:
        return _names(archive)


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(_ENDING) for name in archive.namelist()]


def _read(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(name + _ENDING) as member:
        array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    if array.size > LARGEST:  # of empty texts, which take no bytes
        raise ValueError(f"an array has more than {LARGEST:,} elements")
    return array


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
            names = archive.namelist()
            for name in names:
                if not name.endswith(_ENDING):
                    raise ValueError(f"it holds {name!r:.60}, no array")
            if len(set(names)) < len(names):
                raise ValueError("it holds arrays of the same name")
            yield archive
    except _DAMAGED as error:
        raise VesselrlError(
            f"{path} cannot be read as arrays of vesselrl ({type(error).__name__}: {error!s:.200}):"
            " delete it, and the next run makes it again."
        ) from error
