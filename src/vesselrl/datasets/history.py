"""What an earlier run left, for the next one to hold to."""

import json
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import JSONPreview

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically


class LastingJsonDataset(AbstractDataset[Any, Any]):
    """JSON ↔ a file that a later run reads, so it is written whole or not at all."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The content of the file."""
        return json.loads(self._filepath.read_text(encoding="utf-8"))

    def save(self, data: Any) -> None:
        """Replace the file."""
        text = json.dumps(data, indent=1)
        write_atomically(self._filepath, lambda stream: stream.write(text.encode()))

    def preview(self) -> JSONPreview:
        """The content for ``kedro viz``."""
        return JSONPreview(json.dumps(self.load()))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class HistoryDataset(AbstractDataset[NoReturn, Any]):
    """The file of a `LastingJsonDataset`, as an earlier run left it.

    (In Kedro no dataset is input and output of one node.) It has no part in the fingerprints of
    what is made from it (`vesselrl.provenance`): it changes with every run, and what it decides is
    never decided again. So the same data and parameters in two output folders of different history
    may give different results, each of which is up to date.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        # Neither _filepath nor _path, by which sources are fingerprinted.
        self._file = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The content of the file, None where there is none.

        Raises:
            VesselrlError: the file is not JSON.
        """
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise VesselrlError(
                f"{self._file}, which an earlier run left, is damaged: restore it, or delete it to "
                "decide anew what it kept."
            ) from error

    def save(self, data: NoReturn) -> None:
        """Not possible: it is the other dataset's file."""
        raise DatasetError(f"{self._file} is only read by this dataset.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._file)}
