"""Bundles: a method in one folder, and in one zip file if that is wanted; and their use."""

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.bundle.files import MANIFEST, Bundle, read_files, with_manifest, zipped
from vesselrl.files import UNFINISHED, write_atomically

logger = logging.getLogger(__name__)


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
        with tempfile.TemporaryDirectory(UNFINISHED, f".{folder.name}.", folder.parent) as temporary:
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
        digest = hashlib.sha256(files[MANIFEST]).hexdigest()
        logger.info("Bundle: %s; SHA-256 of its %s: %s", folder, MANIFEST, digest)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class GivenRecipeDataset(AbstractDataset[NoReturn, dict[str, Any]]):
    """The recipe of a bundle, in place of the project's own.

    Args:
        path: of the bundle.
        segmenter: see `vesselrl.load_bundle`.

    Attributes:
        is_given: no node of the project makes it.
        segmenter: the recipe's, with the paths of its files.
        fingerprint: tells recipes apart.
    """

    is_given = True

    def __init__(self, path: Path, segmenter: Mapping[str, Any]) -> None:
        from vesselrl import load_bundle
        from vesselrl.prediction.recipe import digest_of_recipe

        self._path = path
        self._predictor = load_bundle(path, segmenter)  # while it lives, files it unpacked do
        self._state = self._predictor.recipe.state()
        self.segmenter = self._predictor.recipe.segmenter
        self.fingerprint = digest_of_recipe(self._state, self.segmenter.kind)

    def load(self) -> dict[str, Any]:
        """State of the `vesselrl.prediction.recipe.Recipe`."""
        return self._state

    def save(self, data: NoReturn) -> None:
        """A bundle is never written to."""
        raise DatasetError(f"The bundle {self._path} is only read.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}


def use_bundle(catalog: Any, path: Path) -> None:
    """Let the recipe and the segmenter of a catalog be those of a bundle.

    On which devices it runs, where the model of a Sa2VA is, and whether its code may run, the
    parameters of this run say.
    """
    own = catalog.load("params:segmenter")
    fields = type(own).model_fields.items()
    settings = {name: getattr(own, name) for name, field in fields if field.exclude}
    recipe = GivenRecipeDataset(path, settings if own.kind == "sa2va" else {"devices": own.devices})
    catalog["recipe"] = recipe
    catalog["params:segmenter"] = recipe.segmenter
