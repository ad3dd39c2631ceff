"""Images and masks as PNG files."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

from vesselrl.files import write_atomically

Pixels = npt.NDArray[Any]


class PngImageDataset(AbstractDataset[Pixels, Pixels]):
    """An image, uint8 (H, W) or (H, W, 3), ↔ an 8-bit grey or RGB PNG file."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Pixels:
        """The pixels, uint8 (H, W) or (H, W, 3)."""
        from PIL import Image

        with Image.open(self._filepath) as image:
            return np.array(image)

    def save(self, data: Pixels) -> None:
        """Replace the file, whole or not at all."""
        from PIL import Image

        image = Image.fromarray(data)
        write_atomically(self._filepath, lambda stream: image.save(stream, format="PNG"))

    def preview(self) -> ImagePreview:
        """The picture for ``kedro viz``, base64-encoded."""
        return ImagePreview(base64.b64encode(self._filepath.read_bytes()).decode())

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class MaskDataset(PngImageDataset):
    """A mask, bool (H, W), ↔ a one-channel PNG file with 0 for False and 255 for True."""

    def load(self) -> npt.NDArray[np.bool_]:
        """The mask, bool (H, W)."""
        mask: npt.NDArray[np.bool_] = super().load() > 0
        return mask

    def save(self, data: npt.NDArray[np.bool_]) -> None:
        """Replace the file, whole or not at all."""
        super().save(data.astype(np.uint8) * 255)
