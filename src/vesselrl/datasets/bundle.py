"""Bundles: a method in one folder, and in one zip file if that is wanted."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from vesselrl.bundle.files import Bundle, read_files, with_manifest, zipped
from vesselrl.files import write_atomically


class BundleDataset(AbstractDataset[Bundle, Bundle]):
    """A `Bundle` ↔ a folder with a manifest, and a zip file of the same name beside it."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._archive = self._filepath.with_suffix(".zip")
        self.metadata = metadata

    def load(self) -> Bundle:
        """The bundle, checked as `vesselrl.bundle.files.read_files` does."""
        return Bundle(read_files(self._filepath), self._archive.is_file())

    def save(self, data: Bundle) -> None:
        """Replace the folder, whole or not at all, and the zip file, which goes if not wanted."""
        files = with_manifest(data.files)
        folder = self._filepath
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            for name, content in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
            if folder.exists():
                shutil.move(folder, old)
            shutil.move(new, folder)
        if data.is_zipped:
            content = zipped(files)
            write_atomically(self._archive, lambda stream: stream.write(content))
        else:
            self._archive.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
