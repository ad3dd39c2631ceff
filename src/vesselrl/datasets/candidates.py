"""Candidates of all images ↔ a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from vesselrl.segmenters.candidate_folder import PendingCandidates

Loaders = dict[str, Callable[[], Mapping[str, Any]]]


class CandidatesDataset(AbstractDataset["PendingCandidates", Loaders]):
    """Candidates by sample id ↔ a `vesselrl.segmenters.candidate_folder.CandidateFolder`.

    Saving makes them, in worker processes if devices are named, and only those that are missing.

    Args:
        path: the folder.
        metadata: for Kedro's plugins.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path)
        self.metadata = metadata
        self.replaced = False
        """Whether saving replaced maps of the same images; see `vesselrl.hooks.stages`."""

    def load(self) -> Loaders:
        """Sample id → loader of what `make_candidates` describes, in the order of the ids.

        Raises:
            DatasetError: there are none.
        """
        from vesselrl.segmenters.candidate_folder import CandidateFolder

        loaders: Loaders = {**CandidateFolder(self._path).load()}
        if not loaders:
            raise DatasetError(f"No candidates in {self._path}.")
        return loaders

    def save(self, data: "PendingCandidates") -> None:
        """Make and write what is missing or changed, and remove the rest."""
        from vesselrl.segmenters.candidate_folder import CandidateFolder

        self.replaced = CandidateFolder(self._path).make(data)

    def _exists(self) -> bool:
        return any(self._path.glob("*.npz"))

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._path)}
