"""Adapters of a Sa2VA model as a folder that ``peft`` reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

if TYPE_CHECKING:
    from vesselrl.segmenters.sa2va.adapters import Adapters


class AdaptersDataset(AbstractDataset["Adapters", "Adapters"]):
    """`Adapters` ↔ a folder; see `vesselrl.segmenters.sa2va.adapters`.

    Args:
        filepath: of the folder.
        metadata: for Kedro's plugins.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "Adapters":
        """The adapters, on the CPU."""
        from vesselrl.segmenters.sa2va.adapters import read_adapters

        return read_adapters(self._filepath)

    def save(self, data: "Adapters") -> None:
        """Replace the folder's files, each whole or not at all."""
        from vesselrl.segmenters.sa2va.adapters import save_adapters

        save_adapters(self._filepath, data)

    def _exists(self) -> bool:
        from vesselrl.segmenters.sa2va.identity import ADAPTER_WEIGHTS

        return (self._filepath / ADAPTER_WEIGHTS).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
