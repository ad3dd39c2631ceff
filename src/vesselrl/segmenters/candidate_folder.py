"""Candidates of many images: yet to be made, and kept in a folder of one file an image."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vesselrl.arrays import names_of_arrays, read_arrays, write_arrays
from vesselrl.distributed.parameters import RayParameters
from vesselrl.distributed.spreading import map_on_workers
from vesselrl.errors import VesselrlError, first_few
from vesselrl.files import naming
from vesselrl.overlapping import Steps
from vesselrl.parallel import cores
from vesselrl.progress import tracked
from vesselrl.segmenters import gpus
from vesselrl.segmenters.base import Segmenter, build_segmenter
from vesselrl.segmenters.candidates import Arrays, Image, extend_candidates
from vesselrl.segmenters.keys import MapKeys
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.workers import DeviceLostError, Item

logger = logging.getLogger(__name__)

Loader = Callable[[], Image]
_Loaded = tuple[str, Image, dict[str, str], Arrays | None]
_Computed = tuple[str, Arrays, Arrays | None]


class PendingCandidates(Mapping[str, Callable[[], Arrays]]):
    """Candidates yet to be made: sample id → maker.

    Attributes:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        asker: asks the segmenter.
        devices: of the worker processes that make them; see `map_on_workers`.
        ray: the workers on Ray instead.
    """

    def __init__(
        self,
        images: Mapping[str, Loader],
        parameters: SegmenterParameters,
        ray: RayParameters | None = None,
    ) -> None:
        """Describe them.

        Args:
            images: see the class.
            parameters: which segmenter, its prompts and devices.
            ray: see the class.
        """
        self.images = images
        self.asker = Asker(parameters, MapKeys(parameters))
        self.devices = parameters.devices
        self.ray = ray

    def __getitem__(self, sample: str) -> Callable[[], Arrays]:
        """The maker of the candidates of one image; see `Asker`."""
        load = self.images[sample]
        return lambda: self.asker((sample, load()))

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Asker:
    """Asks one segmenter, made when it is first needed, what was not asked before.

    Attributes:
        parameters: which segmenter.
        keys: tells which maps are the same.
    """

    parameters: SegmenterParameters
    keys: MapKeys

    def __call__(self, shown: tuple[str, Image]) -> Arrays:
        """All prompts about an image of which nothing was asked before, given with its id."""
        sample, image = shown
        return self.extend(sample, image, self.keys.of(image), None)

    def extend(
        self,
        sample: str,
        image: Image,
        keys: Mapping[str, str],
        earlier: Mapping[str, Any] | None,
    ) -> Arrays:
        """See `vesselrl.segmenters.candidates.extend_candidates`."""
        return extend_candidates(sample, image, lambda: self._segmenter, keys, earlier)

    @cached_property
    def _segmenter(self) -> Segmenter:
        return build_segmenter(self.parameters)


class StoredArrays(Mapping[str, npt.NDArray[Any]]):
    """The arrays of an ``.npz`` file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Read one array."""
        return read_arrays(self._path, name)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(names_of_arrays(self._path))

    def __len__(self) -> int:
        return len(list(iter(self)))


class CandidateFolder:
    """A folder with the candidates of each image in ``<sample id>.npz``.

    Every file tells by its keys what its maps were made from. So work that broke off goes on where
    it was, and only what is new is asked when prompts, settings or images change.

    Maps of another kind of segmenter may be a day's work, not to be lost by an option forgotten:
    they wait beside the folder, in ``<folder>.<kind>``, until their kind comes again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> dict[str, Callable[[], StoredArrays]]:
        """Sample id → loader of what `extend_candidates` returned, in the order of the ids."""
        files = sorted(self._folder.glob("*.npz"), key=lambda file: file.stem)
        return {file.stem: partial(StoredArrays, file) for file in files}

    def make(self, pending: PendingCandidates) -> bool:
        """Make what is missing, failed before or is out of date, and remove what nothing uses.

        Returns:
            Whether candidates that were there have been replaced by others of the same images.
        """
        self._change_to(pending.asker.parameters.kind)
        self._folder.mkdir(parents=True, exist_ok=True)
        for sample in self.load().keys() - pending.keys():
            self._file(sample).unlink()
        unfinished = self._unfinished(pending)
        workplace = self._beside("unfinished")
        workplace.mkdir(exist_ok=True)
        work = _Work(pending.asker, self._folder, workplace)
        items = [(sample, pending.images[sample]) for sample in unfinished]
        replaced = False
        try:
            spread = map_on_workers(work, items, pending.devices, pending.ray)
            with closing(spread) as written:
                for has_replaced in tracked(written, "Segmenting", len(items)):
                    replaced |= has_replaced
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        return replaced

    def _change_to(self, kind: str) -> None:
        """Put the maps of another kind aside, and those of this kind back in their place."""
        files = (_read(file, "kind") for file in self._folder.glob("*.npz"))
        there = next((str(arrays["kind"]) for arrays in files if arrays), None)
        if there == kind:
            return
        if there is not None:
            shutil.rmtree(self._beside(there), ignore_errors=True)
            self._folder.rename(self._beside(there))
            logger.info("The maps of %s wait in %s.", there, self._beside(there))
        if self._beside(kind).exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._beside(kind).rename(self._folder)
            logger.info("Earlier maps of %s are used again.", kind)

    def _beside(self, name: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}.{name}")

    def _unfinished(self, pending: PendingCandidates) -> list[str]:
        """The images with something to do, and a word about the others."""
        there = [sample for sample in pending if self._file(sample).exists()]

        def look(sample: str) -> _Finding:
            return _find(self._file(sample), pending.asker.keys, pending.images[sample])

        with ThreadPoolExecutor(cores()) as pool:
            looked = pool.map(look, there)
            found = tracked(looked, "Looking at earlier maps", len(there))
            findings = dict(zip(there, found, strict=True))
        whole = {sample for sample, finding in findings.items() if finding.is_whole}
        failed = sum(finding.has_failed for finding in findings.values())
        unused = sorted({prompt for finding in findings.values() for prompt in finding.unused})
        if there:
            logger.info("%d of %d images have all their maps already.", len(whole), len(pending))
        if failed:
            logger.info("%d images on which the segmenter failed are tried again.", failed)
        if unused:
            logger.info("Maps that nothing uses any more are removed, of: %s", first_few(unused))
        return [sample for sample in pending if sample not in whole]

    def _file(self, sample: str) -> Path:
        return _file_of(self._folder, sample)


def _file_of(folder: Path, sample: str) -> Path:
    return folder / f"{sample}.npz"


class _Finding(NamedTuple):
    """What an image's file holds of what it should: all in the right order, failures, too much."""

    is_whole: bool
    has_failed: bool
    unused: Sequence[str]


def _find(file: Path, keys: MapKeys, load: Loader) -> _Finding:
    stored = _read(file, "keys", "prompts")
    if stored is None:
        return _Finding(False, False, [])
    wanted = list(keys.of(load()).values())
    there: list[str] = stored["keys"].tolist()
    of_prompts = zip(stored["prompts"].tolist(), there, strict=True)
    unused = [prompt for prompt, key in of_prompts if key and key not in wanted]
    return _Finding(there == wanted, "" in there, unused)


@dataclass(frozen=True)
class _Work(Steps[Item[Loader], _Loaded, _Computed, bool]):
    """Completes the file of one image, in whatever process.

    Attributes:
        asker: asks the segmenter.
        folder: of the files.
        workplace: another one of the same file system, in which files are until they are complete.
    """

    asker: Asker
    folder: Path
    workplace: Path

    def load(self, item: Item[Loader]) -> _Loaded:
        """The sample's id, its image, the keys of its maps, and what its file holds."""
        sample, load = item
        image = load()
        return sample, image, self.asker.keys.of(image), _read(_file_of(self.folder, sample))

    def compute(self, loaded: _Loaded) -> _Computed:
        """The sample's id, what its file is to hold, and what it holds.

        Raises:
            DeviceLostError: the segmenter failed, and so would all that follows in this process.
        """
        sample, image, keys, earlier = loaded
        arrays = self.asker.extend(sample, image, keys, earlier)
        if arrays["error"].item() and not gpus.are_usable():
            raise DeviceLostError(
                f"After '{sample}' failed the GPU cannot be used any more ({arrays['error']}): run "
                "the command again, which goes on with that image."
            )
        return sample, arrays, earlier

    def store(self, computed: _Computed) -> bool:
        """Write the file.

        Returns:
            Whether there was one whose maps are not all among the new ones.
        """
        sample, arrays, earlier = computed
        file = _file_of(self.folder, sample)
        unfinished = _file_of(self.workplace, sample)
        kind = np.array(self.asker.parameters.kind)
        with naming(unfinished), unfinished.open("wb") as stream:
            write_arrays(stream, arrays | {"kind": kind})
        unfinished.replace(file)
        return earlier is not None and not set(earlier["keys"]) <= set(arrays["keys"])


def _read(file: Path, *names: str) -> Arrays | None:
    """Some arrays of a file, all of them without names; None if it is not whole or not of ours."""
    try:
        arrays = read_arrays(file, *names)
    except (VesselrlError, KeyError):
        return None
    return arrays if names or "keys" in arrays else None
