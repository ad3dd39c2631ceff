"""Partitions in a folder that holds what others made too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro_datasets.partitions import PartitionedDataset

from vesselrl.journal import Journal


class SharedFolderDataset(PartitionedDataset):
    """Partitions by name ↔ files of a folder of which only those saved here count and are replaced.

    (Kedro's own takes every file of its folder for a partition, and with ``overwrite`` clears the
    folder.) Which files these are, and how many bytes each has, is kept in a journal: what was
    saved before and is not saved again is removed, and if a file has gone or changed its size, the
    whole counts as not there.

    Args:
        path: the folder.
        journal: the file of the journal.
        dataset: type of one partition, see Kedro's `PartitionedDataset`.
        filename_suffix: ending of each file.
        metadata: for Kedro's plugins.
    """

    def __init__(
        self,
        *,
        path: str,
        journal: str,
        dataset: str | dict[str, Any],
        filename_suffix: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            path=path, dataset=dataset, filename_suffix=filename_suffix, metadata=metadata
        )
        self._filepath = Path(journal)  # tells `vesselrl.hooks.stages` whether this has changed

    def save(self, data: dict[str, Callable[[], Any]]) -> None:
        """Save each partition and remove those that are gone.

        Raises:
            DatasetError: a name leads out of the folder; nothing is touched then.
        """
        files = {name: self._file_of(name) for name in data}
        with Journal(self._filepath) as journal:
            for name in set(journal) - set(data):
                self._remove(self._file_of(name))
            journal.keep(data)
            for name in data:  # noted before it is written: an interruption leaves no stray file
                journal.add(name, None)
            super().save(data)
            for name, file in files.items():
                journal.add(name, _size(file))
            journal.keep(data)

    def _list_partitions(self) -> list[str]:
        files = map(self._file_of, sorted(Journal(self._filepath)))
        return [str(file) for file in files if file.is_file()]

    def _exists(self) -> bool:
        journal = Journal(self._filepath)
        return len(journal) > 0 and all(
            _size(self._file_of(name)) == journal.get(name) for name in journal
        )

    def _file_of(self, name: str) -> Path:
        return Path(self._partition_to_path(name))

    def _remove(self, file: Path) -> None:
        """Remove a file, and the folders that are empty without it."""
        file.unlink(missing_ok=True)
        for folder in file.parents:
            if (
                folder == Path(self._path).absolute()
                or not folder.is_dir()
                or any(folder.iterdir())
            ):
                break
            folder.rmdir()


def _size(file: Path) -> int:
    """Number of bytes, -1 where there is no file."""
    return file.stat().st_size if file.is_file() else -1
