"""Text in a file: HTML pages, Markdown."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import HTMLPreview

from vesselrl.files import write_atomically


class TextDataset(AbstractDataset[str, str]):
    """A string ↔ a UTF-8 file, written whole or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> str:
        """The text of the file."""
        return self._filepath.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Replace the file."""
        write_atomically(self._filepath, lambda stream: stream.write(data.encode()))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class HtmlDataset(TextDataset):
    """A page of HTML, which ``kedro viz`` shows."""

    def preview(self) -> HTMLPreview:
        """The page for ``kedro viz``."""
        return HTMLPreview(self.load())
