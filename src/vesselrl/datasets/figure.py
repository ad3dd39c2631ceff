"""Figures: drawn with Matplotlib, kept and read as PNG."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview

from vesselrl.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FigureDataset(AbstractDataset["Figure", bytes]):
    """Saves a figure as a PNG file and loads the bytes of that file, as a page embeds them.

    (``kedro_datasets.matplotlib.MatplotlibDataset`` cannot load.) ``kedro viz`` shows the picture.
    """

    def __init__(
        self, *, filepath: str, dots_per_inch: int = 160, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._dots_per_inch = dots_per_inch
        self.metadata = metadata

    def load(self) -> bytes:
        """The PNG file as bytes."""
        return self._filepath.read_bytes()

    def save(self, data: "Figure") -> None:
        """Render the figure and replace the file."""
        # No software version inside: the same figure gives the same file.
        write_atomically(
            self._filepath,
            lambda stream: data.savefig(
                stream, format="png", dpi=self._dots_per_inch, metadata={"Software": None}
            ),
        )

    def preview(self) -> ImagePreview:
        """The picture for ``kedro viz``, base64-encoded."""
        return ImagePreview(base64.b64encode(self.load()).decode())

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "dots_per_inch": self._dots_per_inch}
