"""Intervals and tests that respect groups: images of one patient are not independent.

The cluster bootstrap (Davison & Hinkley, "Bootstrap Methods and their Application", 1997, ch. 3.8;
Field & Welsh, "Bootstrapping clustered data", JRSS B 69, 2007) draws whole groups with replacement.
With a fixed seed every call draws the same groups, so methods scored on the same images are
compared on the same resamples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BATCH_ELEMENTS = 2**24
"""Draws held in memory at a time (groups x resamples)."""


@dataclass(frozen=True)
class Interval:
    """A mean over images and its percentile confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference(Interval):
    """A mean paired difference, its interval and its two-sided p-value for "no difference"."""

    p_value: float


def group_bootstrap_mean(
    values: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> Interval:
    """The mean of scores with its (1 - alpha) percentile interval over resampled groups.

    Args:
        values: finite floats (N,), one an image.
        groups: labels (N,), the group of each image.
        resamples: number of bootstrap resamples.
        alpha: the interval covers 1 - alpha.
        seed: of the resampling.

    Raises:
        ValueError: no values, unequal lengths or a value that is not finite.
    """
    mean, means = _bootstrap(values, groups, resamples, seed)
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return Interval(mean, float(low), float(high))


def paired_bootstrap(
    differences: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> PairedDifference:
    """The mean of paired differences, its interval and p-value, over resampled groups.

    The p-value inverts the percentile interval: with R resampled means d*,
    ``p = min(1, 2 min(1 + #{d* <= 0}, 1 + #{d* >= 0}) / (R + 1))``, never below 2 / (R + 1)
    (Davison & Hinkley 1997, ch. 4-5). Differences that are all zero give p = 1.

    Args:
        differences: finite floats (N,), score of one method minus that of another, per image.
        groups: labels (N,), the group of each image.
        resamples: number of bootstrap resamples R.
        alpha: the interval covers 1 - alpha.
        seed: of the resampling.

    Raises:
        ValueError: no values, unequal lengths or a value that is not finite.
    """
    mean, means = _bootstrap(differences, groups, resamples, seed)
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    rarer_side = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p_value = min(1.0, 2 * (1 + rarer_side) / (resamples + 1))
    return PairedDifference(mean, float(low), float(high), p_value)


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """P-values adjusted for multiple comparisons, in the order given.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979:
    the i-th smallest of m (from 0) becomes ``max over j <= i of (m - j) p_(j)``, at most 1.

    Args:
        p_values: floats (m,) in [0, 1]; m may be 0.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    return np.minimum(adjusted, 1.0)


def _bootstrap(
    values: npt.ArrayLike, groups: npt.ArrayLike, resamples: int, seed: int
) -> tuple[float, npt.NDArray[np.float64]]:
    """The mean over images, and the same mean in each resample of groups, float64 (resamples,)."""
    x, labels = np.asarray(values, np.float64), np.asarray(groups)
    if x.ndim != 1 or x.size == 0 or labels.shape != x.shape:
        raise ValueError(
            f"Bootstrap needs one group for each of at least one value; "
            f"got values {x.shape} and groups {labels.shape}."
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(x))} of {x.size} values are not finite.")
    _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.bincount(index, weights=x)
    n_groups = len(sizes)
    random = np.random.default_rng(seed)
    means = []
    # A resample is how often each group was drawn; batches keep many groups within memory.
    batch = max(1, BATCH_ELEMENTS // n_groups)
    for start in range(0, resamples, batch):
        drawn = random.multinomial(
            n_groups, np.full(n_groups, 1 / n_groups), size=min(batch, resamples - start)
        )
        means.append((drawn @ sums) / (drawn @ sizes))
    return float(x.mean()), np.concatenate(means)
