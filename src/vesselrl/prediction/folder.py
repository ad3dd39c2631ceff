"""Predictions of many images: yet to be made, and kept in a folder of files for each image."""

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.png import png_of_image, png_of_mask
from vesselrl.datasets.picture_folder import read_image, read_mask
from vesselrl.distributed.parameters import RayParameters
from vesselrl.distributed.spreading import is_done_here, map_on_workers
from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically, writer_of
from vesselrl.journal import Journal
from vesselrl.overlapping import Steps
from vesselrl.parameters import Device
from vesselrl.prediction.predictor import Prediction
from vesselrl.progress import tracked
from vesselrl.segmenters import gpus
from vesselrl.segmenters.levels import to_levels
from vesselrl.workers import DeviceLostError, Item

logger = logging.getLogger(__name__)

JOURNAL = ".predictions.tsv"
MASKS, PROBABILITIES, ERRORS = FOLDERS = ("masks", "probabilities", "errors")
"""Folders of PNG files, one an image."""

SCORE_COLUMNS = [
    "dice", "dice_low", "dice_high", "recall", "precision", "out_of_distribution", "prompt",
    "threshold", "operations", "segmenter_calls", "seconds",
]  # fmt: skip
DIGITS = 6


@dataclass(frozen=True)
class PendingPredictions:
    """Predictions yet to be made.

    Attributes:
        images: id → loader of what ``predict`` takes.
        keys: id → a text that differs if anything does that its prediction depends on.
        predict: of an image, or of a `vesselrl.prediction.series.Ballot`; with devices or Ray it is
            picklable, as are the loaders.
        prepare: is called before the first image of each process.
        probability_maps: whether the maps that masks were cut from are kept too.
        batches: id → what its batch is called, of images that vote on each other: those of one
            batch come one after the other and are predicted by one process, others by any.
        devices: of the worker processes that make them; see `map_on_workers`.
        ray: the workers on Ray instead.
    """

    images: Mapping[str, Callable[[], Any]]
    keys: Mapping[str, str]
    predict: Callable[[Any], Prediction]
    prepare: Callable[[], None]
    probability_maps: bool
    batches: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[Device] | None = None
    ray: RayParameters | None = None


@dataclass(frozen=True)
class StoredPrediction:
    """What is kept of one image.

    Attributes:
        scores: `SCORE_COLUMNS` → value, and ``error``, why there is no mask, empty where there is
            one; without a mask there is nothing but the error.
        mask: loader of bool (H, W).
        error_map: loader of uint8 (H, W), 255 where the mask is certainly wrong.
    """

    scores: Mapping[str, Any]
    mask: Callable[[], npt.NDArray[np.bool_]]
    error_map: Callable[[], npt.NDArray[np.uint8]]


class PredictionFolder:
    """``masks/<id>.png``, ``errors/<id>.png`` and, if wanted, ``probabilities/<id>.png``.

    A journal beside them has the scores, and tells what each prediction was made from and how many
    bytes its files have. So work that broke off goes on where it was, what nothing changed for
    stays, and what failed is tried again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> dict[str, StoredPrediction]:
        """Id → what is kept, in the order of the ids."""
        journal = Journal(self._folder / JOURNAL)
        return {sample: self._stored(sample, journal.get(sample)) for sample in sorted(journal)}

    def _stored(self, sample: str, noted: Mapping[str, Any]) -> StoredPrediction:
        return StoredPrediction(
            noted["scores"],
            partial(read_mask, self._file(MASKS, sample)),
            partial(read_image, self._file(ERRORS, sample)),
        )

    def make(self, pending: PendingPredictions) -> None:
        """Make what is missing, failed before or is out of date, and remove what is gone.

        An image that fails is noted with its error; it stops nothing. Where it should have had a
        vote, and now has one for the first time, the vote is repeated.

        Raises:
            VesselrlError: every image failed. What `prepare` raises comes as it is.
        """
        with Journal(self._folder / JOURNAL) as journal:
            done = {sample for sample in pending.images if self._is_done(sample, pending, journal)}
            errors = self._make_all_but(done, pending, journal)
            outvoted = {sample for sample in pending.batches if _has_new_voters(sample, journal)}
            if outvoted:
                errors |= self._make_all_but(pending.images.keys() - outvoted, pending, journal)
            journal.keep(pending.images)
        if errors and len(errors) == len(pending.images):
            raise VesselrlError(
                f"None of the {len(errors)} images could be segmented. The first error is: "
                f"{next(iter(errors.values()))} The traceback is in the log file."
            )
        if errors:
            logger.warning(
                "%d of %d images could not be segmented; quality.csv says why, and the next run "
                "tries them again.",
                len(errors),
                len(pending.images),
            )

    def _make_all_but(
        self, done: Set[str], pending: PendingPredictions, journal: Journal
    ) -> dict[str, str]:
        """Make all other predictions; gives the errors of those that failed."""
        # what is about to be replaced does not count from here on
        journal.keep([sample for sample in journal if sample in done])
        self._remove_all_but(done)
        if not pending.probability_maps:
            self._remove_probabilities(journal)
        missing = [sample for sample in pending.images if sample not in done]
        # one process predicts all of them anyway: none need wait for the others of its batch
        together = {} if is_done_here(pending.devices, pending.ray) else pending.batches
        batches = [list(batch) for _, batch in groupby(missing, lambda one: together.get(one, one))]
        items = [(of[0], [(sample, pending.images[sample]) for sample in of]) for of in batches]
        work = _Work(self._folder, pending.predict, pending.prepare, pending.probability_maps)
        errors = {}
        with closing(map_on_workers(work, items, pending.devices, pending.ray)) as spread:
            written = chain.from_iterable(spread)
            for sample, noted in tracked(written, "Predicting", len(missing)):
                journal.add(sample, {"key": pending.keys[sample], **noted})
                if error := noted["scores"]["error"]:
                    errors[sample] = error
        return errors

    def _is_done(self, sample: str, pending: PendingPredictions, journal: Journal) -> bool:
        noted = journal.get(sample)
        if not _is_note(noted) or noted["scores"]["error"] or noted["key"] != pending.keys[sample]:
            return False
        wanted = {MASKS, ERRORS} | ({PROBABILITIES} if pending.probability_maps else set())
        return wanted <= set(noted["sizes"]) and all(
            _size(self._file(kind, sample)) == size
            for kind, size in noted["sizes"].items()
            if kind in wanted
        )

    def _remove_all_but(self, kept: Set[str]) -> None:
        for kind in FOLDERS:
            for file in (self._folder / kind).glob("*.png"):
                if file.stem not in kept:
                    file.unlink()

    def _remove_probabilities(self, journal: Journal) -> None:
        for sample in journal:
            noted = journal.get(sample)
            if noted["sizes"].pop(PROBABILITIES, None) is not None:
                journal.add(sample, noted)
                self._file(PROBABILITIES, sample).unlink(missing_ok=True)

    def exists(self) -> bool:
        """Whether there are predictions, and all their files as they were written."""
        journal = Journal(self._folder / JOURNAL)
        return len(journal) > 0 and all(
            _is_note(noted)
            and all(
                _size(self._file(kind, sample)) == size for kind, size in noted["sizes"].items()
            )
            for sample in journal
            for noted in [journal.get(sample)]
        )

    def _file(self, kind: str, sample: str) -> Path:
        return _file(self._folder, kind, sample)


Batch = Sequence[tuple[str, Callable[[], Any]]]
"""Samples and their loaders."""
Noted = dict[str, Any]
"""What the journal has of a sample, beside its key."""


@dataclass(frozen=True)
class _Failure:
    """Takes the place of what could not be made of an image.

    An exception would keep what the failed function had in memory, on the GPU too, while the next
    image is predicted.
    """

    error: str


_Loaded = list[tuple[str, Any]]
_Computed = list[tuple[str, Prediction | _Failure]]


@dataclass(frozen=True)
class _Work(Steps[Item[Batch], _Loaded, _Computed, list[tuple[str, Noted]]]):
    """Predicts the images of a batch and writes their files, in whatever process.

    Attributes:
        folder: below which the files are.
        predict: see `PendingPredictions`.
        prepare: likewise.
        probability_maps: likewise.
    """

    folder: Path
    predict: Callable[[Any], Prediction]
    prepare: Callable[[], None]
    probability_maps: bool

    def __call__(self, item: Item[Batch]) -> list[tuple[str, Noted]]:
        """All steps of an image, then of the next: a batch of predictions may not fit in memory."""
        name, batch = item
        noted = []
        for one in batch:
            noted += super().__call__((name, [one]))
        return noted

    def load(self, item: Item[Batch]) -> _Loaded:
        """Each sample of a batch, loaded."""
        return [(sample, _tried(sample, lambda load: load(), load)) for sample, load in item[1]]

    def compute(self, loaded: _Loaded) -> _Computed:
        """Each sample's prediction.

        Raises:
            DeviceLostError: a prediction failed, and so would all that follows in this process.
        """
        self.prepare()
        return [(sample, self._predicted(sample, image)) for sample, image in loaded]

    def _predicted(self, sample: str, image: Any) -> Any:
        made = _tried(sample, self.predict, image)
        if isinstance(made, _Failure) and not gpus.are_usable():
            raise DeviceLostError(
                f"After '{sample}' failed the GPU cannot be used any more ({made.error}): run the "
                "command again, which goes on with that image."
            )
        return made

    def store(self, computed: _Computed) -> list[tuple[str, Noted]]:
        """Each sample, and what the journal notes of it beside the key."""
        return [(sample, self._noted(sample, made)) for sample, made in computed]

    def _noted(self, sample: str, made: Prediction | _Failure) -> Noted:
        noted = _tried(sample, partial(self._written, sample), made)
        if isinstance(noted, _Failure):
            return {"sizes": {}, "scores": {"error": noted.error}, "absent": []}
        return noted

    def _written(self, sample: str, made: Prediction) -> Noted:
        files = {
            MASKS: png_of_mask(made.mask),
            ERRORS: png_of_image(np.round(255 * made.error).astype(np.uint8)),
        }
        if self.probability_maps:
            files[PROBABILITIES] = png_of_image(to_levels(made.probability))
        for kind, data in files.items():
            write_atomically(_file(self.folder, kind, sample), writer_of(data))
        scores = {name: _plain(getattr(made, name)) for name in SCORE_COLUMNS}
        return {
            "sizes": {kind: len(data) for kind, data in files.items()},
            "scores": scores | {"error": ""},
            "absent": list(made.absent),
        }


def _tried(sample: str, function: Callable[[Any], Any], value: Any) -> Any:
    """What a function makes of a value, or the failure that kept it, or an earlier one, from it.

    Whatever fails, the file, the segmenter or the machine, is told in the log.
    """
    if isinstance(value, _Failure):
        return value
    try:
        return function(value)
    except Exception as exception:
        error = traceback.format_exception_only(exception)[-1].strip()
        logger.warning("Segmenting '%s' failed: %s", sample, error)
        logger.debug("Segmenting '%s' failed.", sample, exc_info=exception)
        return _Failure(error)


def _has_new_voters(sample: str, journal: Journal) -> bool:
    """Whether neighbours failed when an image was predicted, and do so no more."""
    noted = journal.get(sample)
    absent = (journal.get(voter) for voter in noted["absent"]) if noted else ()
    return any(voter is not None and not voter["scores"]["error"] for voter in absent)


def _is_note(noted: Any) -> bool:
    """Whether a line of the journal is whole: a disk may lose or change some of it."""
    return (
        isinstance(noted, dict)
        and noted.keys() == {"key", "sizes", "scores", "absent"}
        and isinstance(noted["sizes"], dict)
        and isinstance(noted["scores"], dict)
        and "error" in noted["scores"]
        and isinstance(noted["absent"], list)
    )


def _file(folder: Path, kind: str, sample: str) -> Path:
    return folder / kind / f"{sample}.png"


def _size(file: Path) -> int:
    """Number of bytes, -1 where there is no file."""
    return file.stat().st_size if file.is_file() else -1


def _plain(value: Any) -> Any:
    """A number rounded for people; NaN, which is no JSON, as None."""
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else round(float(value), DIGITS)
    return value
