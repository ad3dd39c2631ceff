"""What validation images teach of the masks of one method: a correction, and how wide to doubt.

The reward network's own lines (`vesselrl.reward.calibration`) are fitted to masks of every kind.
Those of one method are chosen, often by the network itself, and judged after fewer prompts; so here
each score has a line of the method's own, fitted to its masks of validation images.

The interval is the *hierarchical jackknife+* (Lee, Barber and Willett, "Distribution-free inference
with hierarchical data", 2023, arXiv:2306.06342), the jackknife+ of Barber et al. ("Predictive
inference with the jackknife+", Annals of Statistics 49, 2021, doi:10.1214/20-AOS1965) for images in
groups: images of one patient are alike, patients are exchangeable. For each of K groups the line is
fitted again without it (nothing of a group has a part in the line that its own error is measured
by); each of its n images then votes with weight 1 / (n (K + 1)) for what the left-out line says of
the new image, less and plus its own absolute error, and a vote of 1 / (K + 1) is kept for the
worst. The interval goes from the quantile of the lower to that of the upper ends. Such intervals
hold the truth of a new patient's image with a probability of at least 1 - 2 (1 - coverage) whatever
the data, and in practice of about the coverage (Dunn, Wasserman and Ramdas, "Distribution-free
prediction sets for two-layer hierarchical models", Journal of the American Statistical Association
118, 2023, arXiv:1809.07441, pool groups with the same weights). With fewer than
coverage / (1 - coverage) groups nothing can be promised, and the interval is [0, 1].

What is not left out in turn: checkpoints, pixel scaling, settings and cuts were chosen on the same
validation images, a handful of numbers that all groups share. What that costs shows in the share of
test images whose Dice lies in their interval, which the report gives.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import Scores
from vesselrl.prediction.out_of_distribution import Reference
from vesselrl.reward.calibration import Line

Numbers = npt.NDArray[np.integer]

PRIOR = 5 * 0.1**2
"""The slope is drawn to 1 as if so much had been seen: 5 images whose raw scores differ by 0.1."""


@dataclass(frozen=True)
class Votes:
    """What each validation image says of how wrong a predicted Dice may be.

    Attributes:
        slopes: float64 (N,), of the line that was fitted without the image's group.
        intercepts: float64 (N,), likewise.
        errors: float64 (N,), the absolute error of that line for the image.
        weights: float64 (N,), of its vote; they sum to K / (K + 1).
    """

    slopes: Scores
    intercepts: Scores
    errors: Scores
    weights: Scores

    @classmethod
    def cast(cls, raw: Scores, true: Scores, groups: Sequence[str]) -> "Votes":
        """The votes of validation images.

        Args:
            raw: float64 (N,), Dice as the reward network expects it.
            true: float64 (N,), the Dice there was.
            groups: N groups.
        """
        _, own, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        moments = _moments(raw, true, own, sizes)
        # Without a group: the sums of all, less its own. One alone leaves nothing to learn from.
        others = (moments.sum(0) - moments) / max(1, len(sizes) - 1)
        slopes, intercepts = (line[own] for line in _lines(others, len(raw) - sizes))
        errors = np.abs(true - np.clip(slopes * raw + intercepts, 0, 1))
        weights = 1 / (sizes[own] * (len(sizes) + 1))
        return cls(slopes, intercepts, errors, weights)

    def interval(self, raw: float, coverage: float) -> tuple[float, float]:
        """The interval of the Dice of a new image, within [0, 1]."""
        doubt = _quantile(*self._ranked_errors, coverage)
        if math.isinf(doubt):
            return 0.0, 1.0
        said = np.clip(self.slopes * raw + self.intercepts, 0, 1)
        low = -self._quantile_of(
            self.errors - said, coverage, doubt - said.max(), doubt - said.min()
        )
        high = self._quantile_of(
            said + self.errors, coverage, doubt + said.min(), doubt + said.max()
        )
        return max(0.0, low), min(1.0, high)

    @cached_property
    def _ranked_errors(self) -> tuple[Scores, Scores]:
        """See `_ranked`; all votes are sorted once, not for every image."""
        return _ranked(self.errors, self.weights)

    def _quantile_of(self, ends: Scores, share: float, least: float, most: float) -> float:
        """The quantile of the votes' ends, of which it is known between which it lies.

        The lines say nearly the same, so the ends differ by little more than the errors, and few
        are so near to the quantile that their order matters.
        """
        near = (least <= ends) & (ends <= most)
        values, reached = _ranked(ends[near], self.weights[near])
        return _quantile(values, reached + self.weights[ends < least].sum(), share)

    def state(self) -> dict[str, Any]:
        """The votes as plain values."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Votes":
        """The votes that `state` describes."""
        return cls(**{name: np.array(value, np.float64) for name, value in state.items()})


def _ranked(values: Scores, weights: Scores) -> tuple[Scores, Scores]:
    """The values in rising order, and how much of the weight lies at or below each."""
    order = np.argsort(values)
    return values[order], np.cumsum(weights[order])


def _quantile(values: Scores, reached: Scores, share: float) -> float:
    """The least value at or below which so much of the weight lies; infinite where there is none.

    What the weights lack to 1 lies at infinity.

    Args:
        values: float64 (N,), rising.
        reached: float64 (N,), how much of the weight lies at or below each.
        share: of the weight.
    """
    at = int(np.searchsorted(reached, share - 1e-12))
    return float(values[at]) if at < len(values) else math.inf


def fitted_line(raw: Scores, true: Scores, groups: npt.NDArray[Any]) -> Line:
    """From a raw to the true score of one method's masks.

    Least squares in which every group counts the same, the slope drawn to 1 by `PRIOR`: a few
    images tell how far off scores are on average, but hardly how steeply they rise.

    Args:
        raw: float64 (N,); without any, the line leaves scores as they are.
        true: float64 (N,).
        groups: (N,).
    """
    _, own, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    mean = _moments(raw, true, own, sizes).sum(0) / max(1, len(sizes))
    slope, intercept = _lines(mean, np.asarray(len(raw)))
    return Line(float(slope), float(intercept))


def _moments(raw: Scores, true: Scores, own: Numbers, sizes: Numbers) -> Scores:
    """Of each group the means of raw, true, raw² and raw · true, float64 (K, 4).

    Args:
        raw: float64 (N,).
        true: float64 (N,).
        own: int (N,), the number of each image's group.
        sizes: int (K,), images of each group.
    """
    sums = [np.bincount(own, values, len(sizes)) for values in (raw, true, raw * raw, raw * true)]
    return np.stack(sums, axis=1) / sizes[:, None]


def _lines(moments: Scores, images: Numbers) -> tuple[Scores, Scores]:
    """The lines of `fitted_line` by the means over groups of `_moments`, (…, 4).

    Args:
        moments: zeros where there are no groups.
        images: how many there are, (…).

    Returns:
        Slopes and intercepts, each (…).
    """
    middle, aim, squares, products = np.moveaxis(moments, -1, 0)
    rise = images * (products - middle * aim) + PRIOR
    slopes = np.maximum(0.0, rise / (images * (squares - middle**2) + PRIOR))
    return slopes, aim - slopes * middle


def groups_needed(coverage: float) -> int:
    """With fewer groups the interval is [0, 1]: the K at which K / (K + 1) reaches the coverage."""
    return math.ceil(round(coverage / (1 - coverage), 9))


@dataclass(frozen=True)
class Calibration:
    """What validation images teach of the masks of one method.

    Attributes:
        lines: ``dice``, ``recall``, ``precision`` → from the reward network's raw score.
        votes: of the validation images, on the Dice.
        coverage: the share of images whose Dice the interval should hold.
        groups: of the validation images.
        reference: of the out-of-distribution score; None where it is not known, which gives NaN.
    """

    lines: Mapping[str, Line]
    votes: Votes
    coverage: float
    groups: int
    reference: Reference | None

    @classmethod
    def unknown(cls) -> "Calibration":
        """Before anything is known: raw scores, intervals [0, 1]."""
        nothing = np.empty(0)
        return cls({}, Votes(nothing, nothing, nothing, nothing), 0.9, 0, None)

    @classmethod
    def fit(
        cls,
        raw: Mapping[str, Scores],
        true: Mapping[str, Scores],
        groups: Sequence[str],
        coverage: float,
        reference: Reference | None,
    ) -> "Calibration":
        """The calibration of one method's masks of validation images.

        Args:
            raw: score → float64 (N,), as the reward network expects it.
            true: score → float64 (N,).
            groups: N groups.
            coverage: above 0, below 1.
            reference: of the out-of-distribution score.
        """
        lines = {name: fitted_line(raw[name], true[name], np.asarray(groups)) for name in raw}
        votes = Votes.cast(raw["dice"], true["dice"], groups)
        return cls(lines, votes, coverage, len(set(groups)), reference)

    def scores(self, raw: Mapping[str, float]) -> dict[str, float]:
        """Each raw score through its line, in [0, 1]."""
        return {
            name: float(self.lines.get(name, Line())(np.array([value]))[0])
            for name, value in raw.items()
        }

    def interval(self, raw: float) -> tuple[float, float]:
        """The interval of the Dice of an image whose raw Dice is given, within [0, 1]."""
        return self.votes.interval(raw, self.coverage)

    def out_of_distribution(self, features: Callable[[], npt.NDArray[np.float32]]) -> float:
        """How unlike the training images an image is, see `Reference.share_nearer`.

        Args:
            features: gives its `vesselrl.rl.observations.image_features`.
        """
        return self.reference.share_nearer(features()) if self.reference else math.nan

    def state(self) -> dict[str, Any]:
        """All there is to know of it, as tensors and plain values."""
        return {
            "lines": {name: [line.slope, line.intercept] for name, line in self.lines.items()},
            "votes": self.votes.state(),
            "coverage": self.coverage,
            "groups": self.groups,
            "reference": self.reference and self.reference.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Calibration":
        """The calibration that `state` describes."""
        return cls(
            lines={name: Line(*numbers) for name, numbers in state["lines"].items()},
            votes=Votes.from_state(state["votes"]),
            coverage=state["coverage"],
            groups=state["groups"],
            reference=state["reference"] and Reference.from_state(state["reference"]),
        )
