"""A folder that a long training writes checkpoints and logs to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from vesselrl.rl.run_folder import RunFolder


class RunFolderDataset(AbstractDataset[NoReturn, "RunFolder"]):
    """Loads as a `vesselrl.rl.run_folder.RunFolder`; it is filled while a node runs.

    Args:
        folder: which need not exist yet.
        final: name of the model's file that tells a finished run; None is that of a policy.
        metadata: for Kedro's plugins.
    """

    def __init__(
        self, *, folder: str, final: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._folder = Path(folder)
        self._final = final
        self.metadata = metadata

    def load(self) -> "RunFolder":
        """The folder, which need not exist yet."""
        from vesselrl.rl.run_folder import FINAL, RunFolder

        return RunFolder(self._folder, self._final or FINAL)

    def save(self, data: NoReturn) -> None:
        """Not possible: a node receives the folder and writes to it."""
        raise DatasetError(f"{self._folder} is a run folder: nodes write to it while they run.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self._folder)}
