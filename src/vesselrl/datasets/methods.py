"""What the user gives to be compared: finished policies, and finished masks of any other method."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets.json import JSONDataset
from kedro_datasets.partitions import PartitionedDataset

from vesselrl.datasets.sb3 import Sb3ModelDataset
from vesselrl.datasets.torch_state import TorchStateDataset

if TYPE_CHECKING:
    from vesselrl.rl.policy import Policy


class _GivenDataset(AbstractDataset[NoReturn, Any]):
    """Method → what is under the path it has in ``evaluation.methods``.

    Attributes:
        paths: method → path. The project's hooks fill it in from the parameters, which a catalog
            cannot see.
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        self.paths: dict[str, Path] = {}
        self.metadata = metadata

    @property
    def sources(self) -> list[Path]:
        """The files and folders by whose content this is fingerprinted."""
        return list(self.paths.values())

    def save(self, data: NoReturn) -> None:
        """What the user gives is never written."""
        raise DatasetError("What evaluation.methods names by its path is only read.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"methods": list(self.paths)}


class FinishedPoliciesDataset(_GivenDataset):
    """Models of Stable-Baselines3, read without unpickling anything."""

    def load(self) -> dict[str, "Policy"]:
        """Method → its policy; see `vesselrl.datasets.sb3.Sb3ModelDataset`."""
        return {
            name: Sb3ModelDataset(filepath=str(path)).load() for name, path in self.paths.items()
        }


class ImportedResultsDataset(_GivenDataset):
    """Masks in a folder, or an ``annotations.json``."""

    def load(self) -> dict[str, Callable[[], Any]]:
        """Method → opener of its masks, `vesselrl.evaluation.imports.open_results`."""
        from vesselrl.evaluation.imports import open_results

        return {name: partial(open_results, path) for name, path in self.paths.items()}


class MaybeNoneDataset(PartitionedDataset):
    """Partitions of which there may be none, which Kedro's own refuses to load."""

    def load(self) -> dict[str, Callable[[], Any]]:
        """Partition → loader."""
        return super().load() if self._exists() else {}


class NetworkFactsDataset(JSONDataset):
    """Network → what it takes to have it: JSON; of a pipeline that was not run, nothing."""

    def load(self) -> dict[str, Any]:
        """The content of the file."""
        return super().load() if self._exists() else {}


class NetworksInUseDataset(TorchStateDataset):
    """Networks as new images need them; of a pipeline that was not run, nothing."""

    def load(self) -> dict[str, Any]:
        """The state in the file."""
        return super().load() if self._exists() else {}
