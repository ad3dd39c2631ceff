"""One object for each seed of an experiment."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import parse_dataset_definition

from vesselrl.files import write_atomically
from vesselrl.seeds import place_of_seed

SEEDS_FILE = "seeds.json"


class SeedsDataset(AbstractDataset[Mapping[int, Any], dict[int, Any]]):
    """Seed → object: the first seed's file in the folder itself, the others' in ``seeds/<n>/``.

    The seeds are listed in ``seeds.json``, in their order. Without that file, or one of the seeds',
    it loads as no seeds at all: an experiment that was not run.

    Args:
        path: the folder of the experiment.
        file: the name of the file of one seed.
        dataset: type, and arguments beside ``filepath``, of the dataset of one seed.
        metadata: for Kedro's plugins.
    """

    def __init__(
        self,
        *,
        path: str,
        file: str,
        dataset: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = Path(path)
        self._file = file
        self._class, self._arguments = parse_dataset_definition(dataset)
        self.metadata = metadata

    def load(self) -> dict[int, Any]:
        """Seed → what its dataset loads."""
        seeds = self._seeds() if self._exists() else []
        return {seed: self._dataset(seed, seeds[0]).load() for seed in seeds}

    def save(self, data: Mapping[int, Any]) -> None:
        """Save each seed's object, then the list of seeds."""
        seeds = list(data)
        for seed, value in data.items():
            self._dataset(seed, seeds[0]).save(value)
        listing = json.dumps(seeds)
        write_atomically(self._folder / SEEDS_FILE, lambda stream: stream.write(listing.encode()))

    def _seeds(self) -> list[int]:
        file = self._folder / SEEDS_FILE
        return [int(seed) for seed in json.loads(file.read_text())] if file.is_file() else []

    def _dataset(self, seed: int, first: int) -> Any:
        folder = place_of_seed(str(self._folder), seed, first)
        return self._class(filepath=str(Path(folder, self._file)), **self._arguments)

    def _exists(self) -> bool:
        seeds = self._seeds()
        return bool(seeds) and all(self._dataset(seed, seeds[0]).exists() for seed in seeds)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._folder), "file": self._file}
