"""Predictions of images without labels, and the annotations they make."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.datasets.journal import FolderHashesDataset
from vesselrl.datasets.raw import ImageFolderDataset
from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically, writer_of
from vesselrl.hashes import digest
from vesselrl.journal import Journal
from vesselrl.storage import RemoteFolder, is_remote

if TYPE_CHECKING:
    from vesselrl.prediction.folder import PendingPredictions, StoredPrediction

logger = logging.getLogger(__name__)

Makers = Mapping[str, Callable[[], Any]]


class NewImagesDataset(ImageFolderDataset):
    """The folder of images without labels that ``input_dir`` names, here or elsewhere."""

    def __init__(self, *, path: str | None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path or "", metadata=metadata)
        self._is_given = bool(path)
        self._url = path if path and is_remote(path) else None

    def load(self) -> Mapping[str, Callable[[], bytes]]:
        """The folder as a mapping from file name to a loader of bytes.

        Raises:
            VesselrlError: it is not given, or missing.
        """
        if self._url:
            return RemoteFolder(self._url)
        self.require()
        return super().load()

    def require(self) -> None:
        """Raise a VesselrlError if it is not given, or missing."""
        if self._url:
            RemoteFolder(self._url).require()
            return
        if not self._is_given:
            raise VesselrlError(
                "No images are given: name their folder with --params input_dir=/path/to/images."
            )
        if not self._path.is_dir():
            raise VesselrlError(
                f"The folder {self._path} does not exist; expected the images that are to be "
                "segmented: name their folder with --params input_dir=/path/to/images."
            )

    @property
    def sources(self) -> list[Path]:
        """The folder by whose content this is fingerprinted."""
        return [self._path] if self._is_given else []

    @property
    def fingerprint(self) -> str | None:
        """Of a folder elsewhere: what its store tells of the files."""
        return digest(RemoteFolder(self._url).stamps()) if self._url else None

    def _exists(self) -> bool:
        return bool(self._url) or (self._is_given and super()._exists())


class NewHashesDataset(FolderHashesDataset):
    """The hashes of all files of the folder of images without labels."""

    def __init__(
        self, *, path: str | None, file: str, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(root=path or "", folders=[""], file=file, metadata=metadata)
        self._is_given = bool(path)
        self._url = path if path and is_remote(path) else None

    def load(self) -> dict[str, str]:
        """Name of a file relative to the folder → hash of its content, or its store's stamp."""
        if self._url:
            return RemoteFolder(self._url).stamps()
        found = super().load() if self._is_given else {}
        return {name.removeprefix("/"): content for name, content in found.items()}


class PredictionsDataset(AbstractDataset["PendingPredictions", "dict[str, StoredPrediction]"]):
    """Predictions by id ↔ a `vesselrl.prediction.folder.PredictionFolder`.

    Saving makes them, and only those that are missing or out of date.

    Args:
        path: the folder.
        metadata: for Kedro's plugins.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self.metadata = metadata

    def load(self) -> "dict[str, StoredPrediction]":
        """Id → what is kept."""
        from vesselrl.prediction.folder import PredictionFolder

        return PredictionFolder(self._folder).load()

    def save(self, data: "PendingPredictions") -> None:
        """Make and write what is missing or changed, and remove the rest."""
        from vesselrl.prediction.folder import PredictionFolder

        PredictionFolder(self._folder).make(data)

    def _exists(self) -> bool:
        from vesselrl.prediction.folder import PredictionFolder

        return PredictionFolder(self._folder).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder)}


class _WrittenDataset(AbstractDataset[Any, NoReturn]):
    """What is written for others and read by nothing here."""

    def load(self) -> NoReturn:
        """Not possible."""
        raise DatasetError(f"{self._describe()} is written for others; nothing here reads it.")


class JsonListDataset(_WrittenDataset):
    """Makers of items → a JSON list of one line an item, whole or not at all.

    Memory does not grow with the number of items.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Makers) -> None:
        """Replace the file."""

        def write(stream: IO[bytes]) -> None:
            stream.write(b"[")
            _write_items(stream, data)
            stream.write(b"]\n")

        write_atomically(self._filepath, write)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class CocoDataset(JsonListDataset):
    """``images``, ``categories`` and makers of ``annotations`` → a JSON object as COCO has it.

    Without anything there is no file.
    """

    def save(self, data: Mapping[str, Any]) -> None:
        """Replace the file, or remove it."""

        def write(stream: IO[bytes]) -> None:
            before = {name: part for name, part in data.items() if name != "annotations"}
            stream.write(_as_json(before)[:-1] + b',"annotations":[')
            _write_items(stream, data["annotations"])
            stream.write(b"]}\n")

        if data:
            write_atomically(self._filepath, write)
        else:
            self._filepath.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return True  # if it was not asked for, there is none


class LabelMeFolderDataset(_WrittenDataset):
    """Makers of annotation files and of their images → ``<name>.json`` and the images beside them.

    What is not as it was written here is never replaced or removed: a journal tells what was.

    Args:
        path: the folder.
        metadata: for Kedro's plugins.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self.metadata = metadata

    def save(self, data: Makers) -> None:
        """Write what is not there yet, or as it was written here and is another now.

        Args:
            data: name → maker of the document and of the bytes of the image file that its
                ``imagePath`` names.
        """
        with Journal(self._folder / ".written.tsv") as journal:
            journal.keep([name for name in journal if _is_note(name, journal.get(name))])
            gone = [name for name in journal if name not in data]
            left = [name for name in gone if not self._remove(name, journal.get(name))]
            left += [name for name, make in data.items() if not self._replace(name, make, journal)]
            journal.keep([name for name in journal if name in data or name in left])
        if left:
            logger.info("%d LabelMe files are not as they were written here and stay.", len(left))

    def _remove(self, name: str, noted: Mapping[str, str]) -> bool:
        """Remove a file and its image; False where they are not as they are noted."""
        files = self._files(name, noted)
        if _are_foreign(files):
            return False
        for file in files:
            file.unlink(missing_ok=True)
        return True

    def _replace(self, name: str, make: Callable[[], Any], journal: Journal) -> bool:
        """Write a file and its image, if they are not there; False where others are."""
        noted = journal.get(name)
        before = self._files(name, noted) if noted else {}
        if _are_foreign(before):
            return False
        document, picture = make()
        content = json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "replace")
        image = Path(document["imagePath"]).name
        new = {"image": image, "sha256": _sha256(content), "picture": _sha256(picture)}
        after = self._files(name, new)
        if new != noted:
            # Whenever this breaks off, what is there is as it was noted, or is not there.
            for file, sha256 in before.items():
                if after.get(file) != sha256:
                    file.unlink(missing_ok=True)
            if _are_foreign(after):
                return False
            journal.add(name, new)
        for file, data in zip(after, (picture, content), strict=True):
            if not file.is_file():
                write_atomically(file, writer_of(data))
        return True

    def _files(self, name: str, noted: Mapping[str, str]) -> dict[Path, str]:
        """The image and the file → the hash of its content."""
        return {
            self._folder / noted["image"]: noted["picture"],
            self._folder / f"{name}.json": noted["sha256"],
        }

    def _exists(self) -> bool:
        return True  # if none were asked for, there are none

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder)}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _are_foreign(files: Mapping[Path, str]) -> bool:
    """Whether one of the files is there with a content of another hash."""
    return any(
        file.is_file() and _sha256(file.read_bytes()) != sha256 for file, sha256 in files.items()
    )


def _is_note(name: str, noted: Any) -> bool:
    """Whether a line of the journal is as `LabelMeFolderDataset` writes it, for files beside it."""
    return (
        isinstance(noted, dict)
        and noted.keys() == {"image", "sha256", "picture"}
        and all("/" not in one and one not in ("", "..") for one in (name, str(noted["image"])))
    )


def _as_json(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _write_items(stream: IO[bytes], makers: Makers) -> None:
    for number, make in enumerate(makers.values()):
        stream.write((b",\n" if number else b"\n") + _as_json(make()))
