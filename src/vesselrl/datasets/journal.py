"""What earlier runs found out, so that the next need not again."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.hashes import ContentHashes
from vesselrl.journal import Journal


class _MemoryDataset(AbstractDataset[NoReturn, Any]):
    """A file that makes runs quicker and changes no result, so has no part in fingerprints."""

    def __init__(self, *, file: str, metadata: dict[str, Any] | None = None) -> None:
        self._file = Path(file)  # neither _filepath nor _path, by which sources are fingerprinted
        self.metadata = metadata

    def save(self, data: NoReturn) -> None:
        """Not possible: a node receives it and adds to it."""
        raise DatasetError(f"{self._file} is written to while a node runs.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"file": str(self._file)}


class ChecksDataset(_MemoryDataset):
    """A `vesselrl.journal.Journal` of what was found out about entries, images and masks."""

    @property
    def fingerprint(self) -> str:
        """A hash of the code that finds it out: what other code found out is not used."""
        from vesselrl.annotations.checking import version_of_ingest

        return version_of_ingest()

    def load(self) -> Journal:
        """The journal, empty where there is no file yet."""
        return Journal(self._file)


class FolderHashesDataset(_MemoryDataset):
    """The hashes of all files of some folders; see `vesselrl.hashes.ContentHashes`."""

    def __init__(
        self, *, root: str, folders: list[str], file: str, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(file=file, metadata=metadata)
        self._root = Path(root)
        self._folders = folders

    def load(self) -> dict[str, str]:
        """Path relative to the root → hash of the file's content."""
        known = ContentHashes(self._file)
        return {
            f"{folder}/{name}": content
            for folder in self._folders
            if (self._root / folder).is_dir()
            for name, content in known.of_folder(self._root / folder).items()
        }
