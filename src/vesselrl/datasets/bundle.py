"""Bundles: a method in one folder, and in one zip file if that is wanted; and their use."""

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.bundle.files import MANIFEST, read_files, with_manifest, zipped
from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically, writer_of

logger = logging.getLogger(__name__)


class BundleDataset(AbstractDataset[Mapping[str, bytes], dict[str, bytes]]):
    """The files of a bundle ↔ a folder with a manifest, and a zip file of the same name beside it.

    Whenever saving breaks off, the bundle is the old one or the new one: a folder cannot be
    replaced in one step, so one that was on its way is put back when it is loaded or saved next.

    Attributes:
        is_zipped: whether the zip file is wanted. The project's hooks fill it in from the
            parameters, which a catalog cannot see.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._archive = self._filepath.with_suffix(".zip")
        self._old, self._new = (
            self._filepath.with_name(f".{self._filepath.name}.{which}") for which in ("old", "new")
        )
        self.is_zipped = False
        self.metadata = metadata

    def load(self) -> dict[str, bytes]:
        """Name → content, checked as `vesselrl.bundle.files.read_files` does."""
        self._put_back()
        return read_files(self._filepath)

    def save(self, data: Mapping[str, bytes]) -> None:
        """Replace the folder and the zip file, which goes if not wanted.

        Args:
            data: name, with ``/`` between folders → content; without the manifest.
        """
        self._put_back()
        files = with_manifest(data)
        shutil.rmtree(self._new, ignore_errors=True)
        try:
            for name, content in files.items():
                (self._new / name).parent.mkdir(parents=True, exist_ok=True)
                (self._new / name).write_bytes(content)
        except OSError:
            shutil.rmtree(self._new, ignore_errors=True)
            raise
        if self._filepath.exists():
            self._filepath.rename(self._old)
        self._new.rename(self._filepath)
        shutil.rmtree(self._old, ignore_errors=True)
        if self.is_zipped:
            write_atomically(self._archive, writer_of(zipped(files)))
        else:
            self._archive.unlink(missing_ok=True)
        digest = hashlib.sha256(files[MANIFEST]).hexdigest()
        logger.info("Bundle: %s; SHA-256 of its %s: %s", self._filepath, MANIFEST, digest)

    def _put_back(self) -> None:
        if not self._old.exists():
            return
        if self._filepath.exists():  # the new one is in its place
            shutil.rmtree(self._old)
        else:
            self._old.rename(self._filepath)

    def _exists(self) -> bool:
        """Whether it could be loaded; asking changes nothing, for a run beside may be saving."""
        is_there = self._filepath.is_dir() or self._old.is_dir()
        return is_there and (self._archive.is_file() or not self.is_zipped)

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


def refuse_needless_model(path: Path, kind: str) -> None:
    """Refuse a Sa2VA model for a bundle whose method asks another segmenter.

    Before its parameters are validated, which would ask where the model is.

    Args:
        path: of the bundle.
        kind: of the segmenter that the parameters are of.

    Raises:
        VesselrlError: that is so, or the bundle cannot be read.
    """
    if kind != "sa2va":
        return
    from vesselrl.bundle.content import segmenter_kind

    own = segmenter_kind(read_files(path))
    if own != kind:
        raise VesselrlError(
            f"The bundle {path} asks the segmenter ‘{own}’, no Sa2VA model: leave out --env sa2va "
            "and every segmenter.… of --params."
        )


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
