"""What validation patients correct in a trained network.

A network is too sure of itself on patients it has not seen. Two corrections of two numbers each are
fitted, on masks of validation images: one of the pixels' probabilities, which changes how the masks
of an image are ordered, then one of each score, which takes away what bias is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from vesselrl.metrics.masks import Scores, objective_of, scores_of_sizes
from vesselrl.reward.closed_form import Probability

TINY = 1e-12  # scores that vary less than this do not vary
EDGES = np.linspace(-8, 8, 161)  # of bins of log-odds; beyond them a pixel is certain
SLOPES = (0.25, 4.0)
INTERCEPTS = (-4.0, 4.0)


@dataclass(frozen=True)
class Line:
    """From a raw to the true score; within [0, 1] it keeps every ranking."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, images: Sequence[tuple[Scores, Scores]]) -> "Line":
        """Least squares, with an intercept of each image's own, of which the mean is kept.

        A policy learns from which mask of an image is better. How good the images are would turn
        the line, even round: with the few of them that there are, an image of no vessels is enough.
        A falling line (a network that ranks backwards) is replaced by the mean.

        Args:
            images: of each image raw, float64 (N,), predicted scores, and true, float64 (N,), the
                scores they should have been; N > 0, the same of all.
        """
        raw, true = np.moveaxis(np.asarray(images), 1, 0)
        spread = raw - raw.mean(1, keepdims=True)
        slope = max(0.0, float((spread * true).sum() / max((spread**2).sum(), TINY)))
        return cls(slope, float(true.mean() - slope * raw.mean()))

    def __call__(self, raw: Scores) -> Scores:
        """Calibrated scores in [0, 1]."""
        return np.clip(self.slope * raw + self.intercept, 0, 1)


@dataclass(frozen=True)
class Evidence:
    """Masks of one image, counted by how sure the network is of their pixels.

    Attributes:
        counts: int (M, N, B), pixels of mask n whose log-odds, in the eyes of member m, lie in
            bin b; `EDGES` has the bins.
        totals: int (M, B), the same of all pixels of the image.
        true: the masks' true scores, each float64 (N,).
    """

    counts: npt.NDArray[np.int64]
    totals: npt.NDArray[np.int64]
    true: dict[str, Scores]

    @classmethod
    def of(
        cls, masks: npt.NDArray[np.bool_], opinions: Probability, true: dict[str, Scores]
    ) -> "Evidence":
        """Count the pixels of masks (N, H, W), given opinions (M, H, W) in [0, 1]."""
        certain = np.float32(1e-6)
        odds = np.clip(opinions.reshape(len(opinions), -1), certain, 1 - certain)
        bins = np.digitize(np.log(odds / (1 - odds)), EDGES)
        size = len(EDGES) + 1
        flat = masks.reshape(len(masks), -1)
        return cls(
            np.array([[np.bincount(b[mask], minlength=size) for mask in flat] for b in bins]),
            np.array([np.bincount(b, minlength=size) for b in bins]),
            true,
        )


@dataclass(frozen=True)
class PlattScaling:
    """Log-odds z of every pixel become ``slope z + intercept``.

    After Platt, "Probabilistic outputs for support vector machines" (1999); temperature scaling
    (Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599) with an
    intercept. It is fitted not to the pixels but to what they are for: scores of masks.
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, images: Sequence[Evidence], objective: Sequence[str]) -> "PlattScaling":
        """Let the objective of the masks of one image differ as their true objectives differ.

        The squared error of differences from the image's mean is least: a policy learns from which
        mask is better, not from how good an image is.

        Args:
            images: of validation patients; at least one.
            objective: the scores whose mean is paid.
        """
        true = [_centred(image.true, objective) for image in images]

        def error(numbers: npt.NDArray[np.float64]) -> float:
            q = _sigmoid(numbers[0] * _centres() + numbers[1])
            errors = [
                _centred(_expected(image, q), objective) - of_image
                for image, of_image in zip(images, true, strict=True)
            ]
            return float(np.mean([np.square(e).mean() for e in errors]))

        found = minimize(error, [1.0, 0.0], method="L-BFGS-B", bounds=[SLOPES, INTERCEPTS])
        return cls(*map(float, found.x))


def _expected(image: Evidence, q: npt.NDArray[np.float64]) -> dict[str, Scores]:
    """Expected scores of the masks if ``q`` is the probability in each bin; members' mean."""
    sizes = scores_of_sizes(
        both=(image.counts @ q).T,
        in_prediction=image.counts[0].sum(1)[:, None].astype(float),
        in_truth=image.totals @ q,
    )
    return {key: scores.mean(1) for key, scores in sizes.items()}


def _centred(scores: dict[str, Scores], objective: Sequence[str]) -> Scores:
    value = objective_of(scores, objective)
    centred: Scores = value - value.mean()
    return centred


def _centres() -> npt.NDArray[np.float64]:
    step = EDGES[1] - EDGES[0]
    return np.concatenate([EDGES[:1] - step / 2, EDGES + step / 2])


def _sigmoid(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-z))
