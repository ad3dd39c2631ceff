"""The folder that an interrupted training goes on from."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.checkpoints import Checkpoints


class CheckpointsDataset(AbstractDataset[NoReturn, Checkpoints]):
    """Loads as a `vesselrl.checkpoints.Checkpoints`; it is written while a node runs."""

    fingerprint = "none"  # an interrupted training ends in the same result as one that was not

    def __init__(self, *, folder: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(folder)
        self.metadata = metadata

    def load(self) -> Checkpoints:
        """The folder, which need not exist yet."""
        return Checkpoints(self._folder)

    def save(self, data: NoReturn) -> None:
        """Not possible: a node receives the folder and writes to it."""
        raise DatasetError(f"{self._folder} holds checkpoints: a node writes to it while it runs.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self._folder)}
