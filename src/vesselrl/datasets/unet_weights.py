"""Networks of our own segmenter as safetensors files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from vesselrl.segmenters.unet.network import SegmentationNetwork


class UnetWeightsDataset(AbstractDataset["SegmentationNetwork", "SegmentationNetwork"]):
    """A `SegmentationNetwork` ↔ a file; see `vesselrl.segmenters.unet.weights`."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "SegmentationNetwork":
        """The network, on the best device there is."""
        from vesselrl.segmenters.unet.weights import load_weights

        return load_weights(self._filepath)

    def save(self, data: "SegmentationNetwork") -> None:
        """Replace the file, whole or not at all."""
        from vesselrl.segmenters.unet.weights import save_weights

        save_weights(self._filepath, data)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class StartingWeightsDataset(AbstractDataset[NoReturn, Any]):
    """The weights that ``supervised.pretrained`` asks for.

    Attributes:
        path: of their file, None for drawn weights. The project's hooks fill it in from the
            parameters, which a catalog cannot see.
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        self.path: Path | None = None
        self.metadata = metadata

    @property
    def sources(self) -> list[Path]:
        """The file by whose content this is fingerprinted."""
        return [self.path] if self.path else []

    def load(self) -> dict[str, Any] | None:
        """State of the `SegmentationNetwork`, None for drawn weights."""
        from vesselrl.segmenters.unet.weights import load_weights

        return load_weights(self.path).state() if self.path else None

    def save(self, data: NoReturn) -> None:
        """What the user gives is never written."""
        raise DatasetError("What supervised.pretrained names is only read.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}
