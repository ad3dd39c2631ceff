"""Figures: drawn with Matplotlib, kept and read as PNG."""

import base64
import io
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
    An optional one (``metadata: {optional: true}``) that was not drawn loads as no bytes.
    """

    def __init__(
        self, *, filepath: str, dots_per_inch: int = 160, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._dots_per_inch = dots_per_inch
        self.metadata = metadata

    def load(self) -> bytes:
        """The PNG file as bytes."""
        if (self.metadata or {}).get("optional") and not self._exists():
            return b""
        return self._filepath.read_bytes()

    def save(self, data: "Figure") -> None:
        """Render the figure and replace the file; the same figure gives the same file."""
        picture = io.BytesIO()
        data.set_dpi(self._dots_per_inch)
        _lay_out(data)
        data.savefig(
            picture,
            format="png",
            dpi=self._dots_per_inch,
            metadata={"Software": None},  # its version
        )
        write_atomically(self._filepath, lambda stream: stream.write(picture.getbuffer()))

    def preview(self) -> ImagePreview:
        """The picture for ``kedro viz``, base64-encoded."""
        return ImagePreview(base64.b64encode(self.load()).decode())

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "dots_per_inch": self._dots_per_inch}


def _lay_out(figure: "Figure") -> None:
    """Fix the layout, in whole millionths of the figure.

    Matplotlib's solver ends at positions that differ in the last digits from one time to the next,
    which is enough for a line to be one level of grey lighter.
    """
    engine = figure.get_layout_engine()
    if engine is None or not figure.axes:
        return
    engine.execute(figure)
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.p0, part.bbox_relative.p1 = part.bbox_relative.get_points().round(6)
    for axis in figure.axes:
        left, bottom, width, height = axis.get_position(original=True).bounds
        axis.set_position((round(left, 6), round(bottom, 6), round(width, 6), round(height, 6)))
