"""The user's raw data: annotations, JSON files and the folder of images, read only."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.json_files import read_json
from vesselrl.errors import VesselrlError

if TYPE_CHECKING:
    from vesselrl.annotations.sources import Source

_MAX_MB = 512
_ELSEWHERE = "give the folder that holds it with --params raw_dir=…"


class _ReadOnlyDataset(AbstractDataset[NoReturn, Any]):
    def save(self, data: NoReturn) -> None:
        """Raw data are never written."""
        raise DatasetError(f"{self._describe()} is the user's raw data: it is only read.")


class AnnotationsDataset(_ReadOnlyDataset):
    """The annotations in a data folder, in any of the formats of `vesselrl.annotations.sources`."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        self.metadata = metadata

    def load(self) -> "Callable[..., Source]":
        """`vesselrl.annotations.sources.open_source` for this folder, to be given the format.

        Raises:
            VesselrlError: the folder is missing.
        """
        from vesselrl.annotations.sources import open_source, require_folder

        require_folder(self._path)
        return partial(open_source, self._path)

    @property
    def sources(self) -> list[Path]:
        """The files and folders in which annotations may be, by which they are fingerprinted."""
        folders = [self._path / name for name in ("annotations", "masks")]
        return [*sorted(self._path.glob("*.json")), *folders]

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}


class OptionalJsonDataset(_ReadOnlyDataset):
    """A JSON file that may be absent. NaN and Infinity are read as floats."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The content of the file, None where there is none.

        Raises:
            VesselrlError: the file is unreadable, not JSON or too large; or it is absent, and one
                of another ending or in capitals, such as ``groups.csv``, is there instead.
        """
        if self._filepath.is_file():
            return read_json(self._filepath, _MAX_MB)
        if found := self._instead():
            # To go on would be to split patients as if nothing were known of them.
            raise VesselrlError(
                f"{found} is not read: expected {self._filepath.name}, an object such as "
                f'{{"x.png": …}} with the names of the files in images/ (docs/own_data.md). Write '
                "it so, or rename this file if it is for something else."
            )
        return None

    def _instead(self) -> Path | None:
        """A file beside where this one would be, of its name but for ending and capitals."""
        stem, folder = self._filepath.stem.casefold(), self._filepath.parent
        beside = sorted(folder.iterdir()) if folder.is_dir() else []
        return next((p for p in beside if p.stem.casefold() == stem and p.is_file()), None)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ImageFolderDataset(_ReadOnlyDataset):
    """The folder of source images, read file by file on demand."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        self.metadata = metadata

    def load(self) -> Mapping[str, Callable[[], bytes]]:
        """The folder as a mapping from file name to a loader of bytes.

        Raises:
            VesselrlError: the folder is missing.
        """
        if not self._path.is_dir():
            raise VesselrlError(
                f"The folder {self._path} does not exist; expected the images that the "
                f"annotations name: put them there, or {_ELSEWHERE}."
            )
        return ImageFolder(self._path)

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
