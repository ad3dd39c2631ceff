"""How good masks are that a reward network learns from, counted.

Worker processes import this: of all that this package needs it takes little.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vesselrl.ahead import made_ahead
from vesselrl.reward.closed_form import expected_scores
from vesselrl.segmenters.levels import from_levels

if TYPE_CHECKING:
    from vesselrl.reward.examples import Example, Loader

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where the segmenter's maps are cut."""
BINS = 100
"""Of Dice; quantiles are read off them, too."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Counts = npt.NDArray[np.int64]


@dataclass
class Qualities:
    """How many masks have which Dice: all that is kept of any number of images.

    Attributes:
        images: how many were counted.
        own: int (T, BINS), masks of the segmenter's maps, for each of `THRESHOLDS`.
        corrupted: int (1, BINS), masks of corruptions of the truth.
        by_corruption: int (BINS,) of each corruption; of several in turn, each counts.
    """

    images: int = 0
    own: Counts = field(default_factory=lambda: np.zeros((len(THRESHOLDS), BINS), np.int64))
    corrupted: Counts = field(default_factory=lambda: np.zeros((1, BINS), np.int64))
    by_corruption: dict[str, Counts] = field(default_factory=dict)

    @classmethod
    def of(cls, examples: "Iterable[Loader]") -> "Qualities":
        """Count the masks of examples, over the cores of this machine."""
        # Under names that are sorted as they come.
        loaders = {f"{number:09}": load for number, load in enumerate(examples)}
        total = cls()
        for make in made_ahead(_of_one, loaders).values():
            total.add(make())
        return total

    def add(self, others: "Qualities") -> None:
        """Count those of other images too."""
        self.images += others.images
        self.own += others.own
        self.corrupted += others.corrupted
        for name, counts in others.by_corruption.items():
            self.by_corruption[name] = self.by_corruption.get(name, 0) + counts

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """How often training judges which masks: either kind as often as the other.

        Returns:
            float64 (T + 1, BINS), the segmenter's masks by threshold, then corruptions. Where there
            are masks they add up to 1.
        """
        totals = [kind.sum() for kind in (self.own, self.corrupted)]
        kinds = sum(total > 0 for total in totals)
        return np.concatenate(
            [
                kind / max(1, total * kinds)
                for kind, total in zip((self.own, self.corrupted), totals, strict=True)
            ]
        )


def _of_one(example: "Example") -> Qualities:
    """Of the masks of one image."""
    found = Qualities(images=1)
    truth = example["truth"].astype(np.float32)[None] / np.float32(255)
    for source, levels in zip(example["sources"], example["maps"], strict=True):
        masks = np.stack([from_levels(levels) > threshold for threshold in THRESHOLDS])
        dice = expected_scores(masks, truth)["dice"][:, 0]
        bins = np.minimum((dice * BINS).astype(int), BINS - 1)
        if not source:
            found.own[range(len(THRESHOLDS)), bins] += 1
            continue
        counts = np.bincount(bins, minlength=BINS)
        found.corrupted[0] += counts
        for name in str(source).split("+"):
            found.by_corruption[name] = found.by_corruption.get(name, 0) + counts
    return found


def quantiles(counts: Counts) -> npt.NDArray[np.float64]:
    """The Dice at `QUANTILES` of counted masks, the middles of their bins; at least one mask."""
    cumulative = np.cumsum(counts) / counts.sum()
    return (np.searchsorted(cumulative, QUANTILES) + 0.5) / BINS
