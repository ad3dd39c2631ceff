"""Named arrays in one compressed file."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
from kedro.io import AbstractDataset

from vesselrl.arrays import read_arrays, write_arrays
from vesselrl.files import write_atomically

Arrays = dict[str, npt.NDArray[Any]]


class NpzDataset(AbstractDataset[Arrays, Arrays]):
    """A mapping name → array ↔ a compressed ``.npz`` file.

    Numbers, booleans and unicode strings; arrays of Python objects are refused in both directions,
    because reading them would run code from the file (pickle).
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Arrays:
        """All arrays, read into memory."""
        return read_arrays(self._filepath)

    def save(self, data: Arrays) -> None:
        """Replace the file, whole or not at all; scalars become arrays of shape ()."""
        write_atomically(self._filepath, partial(write_arrays, arrays=data))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
