"""Bytes in a file, of whatever kind: moving pictures."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from vesselrl.files import write_atomically


class BinaryDataset(AbstractDataset[bytes, bytes]):
    """Bytes ↔ a file, written whole or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> bytes:
        """The content of the file."""
        return self._filepath.read_bytes()

    def save(self, data: bytes) -> None:
        """Replace the file."""
        write_atomically(self._filepath, lambda stream: stream.write(data))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
