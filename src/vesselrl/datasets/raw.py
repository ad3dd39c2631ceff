"""The user's raw data: JSON files and the folder of images beside them, read only."""

import json
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.annotations.folder import ImageFolder
from vesselrl.errors import VesselrlError

_ELSEWHERE = "give the folder that holds it with --params raw_dir=…"


class _ReadOnlyDataset(AbstractDataset[NoReturn, Any]):
    def save(self, data: NoReturn) -> None:
        """Raw data are never written."""
        raise DatasetError(f"{self._describe()} is the user's raw data: it is only read.")


class RawJsonDataset(_ReadOnlyDataset):
    """A JSON file that must be there. NaN and Infinity are read as floats."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The content of the file.

        Raises:
            VesselrlError: the folder or the file is missing, or the file is not JSON.
        """
        if not self._filepath.parent.is_dir():
            raise VesselrlError(
                f"The folder {self._filepath.parent} does not exist; expected "
                f"{self._filepath.name} in it: {_ELSEWHERE}."
            )
        if not self._filepath.is_file():
            raise VesselrlError(f"{self._filepath} does not exist: {_ELSEWHERE}.")
        try:
            return json.loads(self._filepath.read_text(encoding="utf-8-sig"))
        except RecursionError:
            problem = "its brackets are nested too deeply"
        except ValueError as error:
            problem = str(error)
        except OSError as error:
            raise VesselrlError(f"{self._filepath} cannot be read: {error.strerror}.") from error
        raise VesselrlError(f"{self._filepath} is not JSON ({problem}): correct or replace it.")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class OptionalJsonDataset(RawJsonDataset):
    """A JSON file that may be absent."""

    def load(self) -> Any:
        """The content of the file, None where there is none."""
        return super().load() if self._filepath.is_file() else None


class ImageFolderDataset(_ReadOnlyDataset):
    """The folder of source images, read file by file on demand."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        self.metadata = metadata

    def load(self) -> ImageFolder:
        """The folder as a mapping from file name to a loader of bytes.

        Raises:
            VesselrlError: the folder is missing.
        """
        if not self._path.is_dir():
            raise VesselrlError(
                f"The folder {self._path} does not exist; expected the images that "
                f"annotations.json names: {_ELSEWHERE}."
            )
        return ImageFolder(self._path)

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
