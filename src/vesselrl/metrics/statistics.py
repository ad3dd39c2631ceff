"""Intervals, tests and effect sizes that respect groups: images of one patient are not independent.

Means are over images, but what is resampled, flipped or counted is a whole group. Intervals come
from the cluster bootstrap (Davison & Hinkley, "Bootstrap Methods and their Application", 1997,
ch. 3.8, doi:10.1017/CBO9780511802843; Field & Welsh, "Bootstrapping clustered data", JRSS B 69,
2007, doi:10.1111/j.1467-9868.2007.00593.x), whose percentile interval is too narrow where groups
are few and therefore expanded; p-values come from flipping signs, which holds its level however few
groups there are. With a fixed seed every call draws the same groups and signs, so methods scored on
the same images are compared on the same resamples.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import special, stats

BATCH_ELEMENTS = 2**24
"""Draws held in memory at a time (groups x resamples)."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over images and its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference(Interval):
    """A mean paired difference and its interval, and how sure and how large it is.

    Attributes:
        p_value: two-sided, for "no difference".
        effect_size: matched-pairs rank-biserial correlation in [-1, 1], see `rank_biserial`.
        standard_error: of the mean, robust to any correlation within groups; infinite for one
            group, which tells nothing of others.
    """

    p_value: float
    effect_size: float
    standard_error: float


def group_bootstrap_mean(
    values: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> Interval:
    """The mean of scores with its expanded percentile interval over resampled groups.

    The percentile interval behaves as a normal interval with the biased variance would. So its
    tails are chosen to make it as wide as Student's t of G groups asks for: each is
    ``Φ(sqrt(G / (G - 1)) t_{alpha / 2, G - 1})`` instead of ``alpha / 2`` (Hesterberg, "What
    teachers should know about the bootstrap", The American Statistician 69, 2015,
    doi:10.1080/00031305.2015.1089789).

    Args:
        values: finite floats (N,), one an image.
        groups: labels (N,), the group of each image.
        resamples: number of bootstrap resamples.
        alpha: the interval covers 1 - alpha.
        seed: of the resampling.

    Raises:
        ValueError: no values, unequal lengths or a value that is not finite.

    Examples:
        >>> dice, patients = [0.70, 0.72, 0.71, 0.90, 0.88, 0.80], ["a", "a", "a", "b", "b", "c"]
        >>> interval = group_bootstrap_mean(dice, patients)
        >>> [round(value, 3) for value in (interval.mean, interval.low, interval.high)]
        [0.785, 0.71, 0.89]
    """
    sums, sizes = _totals(values, groups)
    return _expanded_percentile_interval(sums, sizes, resamples, alpha, seed)


def paired_difference(
    differences: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> PairedDifference:
    """The mean of paired differences, its interval, p-value and effect size.

    The interval is that of `group_bootstrap_mean`. The p-value asks how often the mean would be as
    far from zero if the sign of each group's sum were chance (Fisher, "The Design of Experiments",
    1935, ch. 3; for whole groups Winkler et al., "Permutation inference for the general linear
    model", NeuroImage 92, 2014, doi:10.1016/j.neuroimage.2014.01.060; Canay, Romano & Shaikh,
    "Randomization tests under an approximate symmetry assumption", Econometrica 85, 2017,
    doi:10.3982/ECTA13081). All 2^G patterns of signs are tried if they are no more than the
    resamples, else so many are drawn. It is exact where differences of groups are symmetric about
    zero, and never below `smallest_p`.

    Args:
        differences: finite floats (N,), score of one method minus that of another, per image.
        groups: labels (N,), the group of each image.
        resamples: number of bootstrap resamples, and of sign patterns.
        alpha: the interval covers 1 - alpha.
        seed: of the resampling.

    Raises:
        ValueError: no values, unequal lengths or a value that is not finite.

    Examples:
        Five patients are too few for significance at 5 %, however clear the difference.

        >>> gain = paired_difference([0.02, 0.03, 0.01, 0.02, 0.04], ["a", "b", "c", "d", "e"])
        >>> round(gain.mean, 3), gain.p_value, gain.effect_size
        (0.024, 0.0625, 1.0)
    """
    sums, sizes = _totals(differences, groups)
    interval = _expanded_percentile_interval(sums, sizes, resamples, alpha, seed)
    return PairedDifference(
        interval.mean,
        interval.low,
        interval.high,
        p_value=_sign_flip_p(sums, resamples, seed),
        effect_size=rank_biserial(sums / sizes),
        standard_error=_standard_error(sums, sizes),
    )


def rank_biserial(differences: npt.ArrayLike) -> float:
    """The matched-pairs rank-biserial correlation of differences, in [-1, 1].

    The differences that are not zero are ranked by size; it is the share of the sum of ranks that
    belongs to positive ones minus the share of negative ones (Kerby, "The simple difference
    formula", Comprehensive Psychology 3, 2014, doi:10.2466/11.IT.3.1). 1: all are positive; 0:
    neither side outweighs the other, or all are zero.

    Args:
        differences: floats (G,).
    """
    d = np.asarray(differences, np.float64)
    d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))
    return float((ranks * np.sign(d)).sum() / ranks.sum()) if d.size else 0.0


def smallest_p(groups: int, resamples: int = 10_000) -> float:
    """The smallest p-value of `paired_difference`, where all groups differ with one sign.

    ``2 · 2^(−groups)`` where all patterns of signs are tried, else no less than the share of one of
    the patterns drawn.

    Examples:
        >>> smallest_p(5), smallest_p(6)
        (0.0625, 0.03125)
    """
    of_groups = 2.0 ** (1 - groups)
    return of_groups if 2**groups <= resamples else max(of_groups, 1 / (1 + resamples))


def detectable_difference(
    standard_error: float, groups: int, alpha: float, power: float = 0.8, resamples: int = 10_000
) -> float:
    """The smallest true difference that a test of this precision would probably have found.

    ``(t_{1 - alpha / 2, G - 1} + t_{power, G - 1}) · standard error`` (Bloom, "Minimum detectable
    effects", Evaluation Review 19, 1995, doi:10.1177/0193841X9501900504), and no less than the
    signs ask for: if j groups differ the other way, 2^j patterns of signs give a mean at least as
    large, so with a p-value below alpha they are at most J, the largest with ``2 · 2^(J - G) <
    alpha``. That few are as probable as the power asks for, of normal differences with the standard
    deviation ``sqrt(G) · standard error``, from ``-Φ⁻¹(q)`` of these on, where
    ``P(Binomial(G, q) <= J) = power``.

    Args:
        standard_error: of the mean difference.
        groups: G, how many groups were compared.
        alpha: a p-value below it counts as significant.
        power: the probability to find it.
        resamples: see `paired_difference`.

    Returns:
        The difference in units of the standard error's; infinite where so few groups, or resamples,
        cannot give a p-value below alpha.
    """
    if smallest_p(groups, resamples) >= alpha:
        return float("inf")
    t = stats.t(groups - 1)
    of_means = t.ppf(1 - alpha / 2) + t.ppf(power)
    against = math.ceil(groups - 1 + math.log2(alpha)) - 1
    of_signs = -np.sqrt(groups) * stats.norm.ppf(special.bdtri(against, groups, power))
    return float(max(of_means, of_signs) * standard_error)


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """P-values adjusted for multiple comparisons, in the order given.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979:
    the i-th smallest of m (from 0) becomes ``max over j <= i of (m - j) p_(j)``, at most 1.

    Args:
        p_values: floats (m,) in [0, 1]; m may be 0.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
    return np.minimum(adjusted, 1.0)


def _totals(values: npt.ArrayLike, groups: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The sum of the values of each group and the number of them, each float64 (G,)."""
    x, labels = np.asarray(values, np.float64), np.asarray(groups)
    if x.ndim != 1 or x.size == 0 or labels.shape != x.shape:
        raise ValueError(
            f"Statistics over groups need one group for each of at least one value; "
            f"got values {x.shape} and groups {labels.shape}."
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(x))} of {x.size} values are not finite.")
    _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.bincount(index, weights=x).astype(np.float64), sizes.astype(np.float64)


def _expanded_percentile_interval(
    sums: Floats, sizes: Floats, resamples: int, alpha: float, seed: int
) -> Interval:
    n_groups = len(sums)
    totals = _dot(_draws(n_groups, resamples, seed), np.stack([sums, sizes], axis=1))
    tail = alpha / 2
    if n_groups > 1:
        expansion = np.sqrt(n_groups / (n_groups - 1))
        tail = stats.norm.cdf(expansion * stats.t.ppf(tail, n_groups - 1))
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [tail, 1 - tail])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


@lru_cache(maxsize=1)
def _draws(n_groups: int, resamples: int, seed: int) -> npt.NDArray[np.uint8]:
    """How often each group is drawn in each resample, uint8 (resamples, G); a count fits easily.

    Drawing costs more than all that follows, and all methods of a comparison share it.
    """
    random, chances = np.random.default_rng(seed), np.full(n_groups, 1 / n_groups)
    return np.concatenate(
        [
            random.multinomial(n_groups, chances, size=rows).astype(np.uint8)
            for rows in _batches(resamples, n_groups)
        ]
    )


def _sign_flip_p(sums: Floats, resamples: int, seed: int) -> float:
    n_groups, total = len(sums), sums.sum()
    exact = 2**n_groups <= resamples
    if exact:
        patterns = np.arange(2**n_groups, dtype=">u8")[:, None].view(np.uint8)
        positive = np.unpackbits(patterns, axis=1)[:, -n_groups:]
    else:
        width = math.ceil(n_groups / 8)
        patterns = np.random.default_rng(seed).integers(0, 256, (resamples, width), np.uint8)
        positive = np.unpackbits(patterns, axis=1, count=n_groups)
    flipped = np.abs(2 * _dot(positive, sums) - total)
    rounding = 1e-12 * np.abs(sums).sum()
    as_far = int(np.count_nonzero(flipped >= abs(total) - rounding))
    # Of drawn patterns none need be the observed one, which counts too.
    return as_far / 2**n_groups if exact else (1 + as_far) / (1 + resamples)


def _dot(whole: npt.NDArray[np.uint8], by: Floats) -> Floats:
    """The product of a large array of small integers with floats, in little memory."""
    starts = np.cumsum([0, *_batches(*whole.shape)])
    return np.concatenate([whole[a:b] @ by for a, b in pairwise(starts)])


def _batches(resamples: int, n_groups: int) -> list[int]:
    """Numbers of resamples that are held in memory at a time."""
    batch = max(1, BATCH_ELEMENTS // n_groups)
    return [min(batch, resamples - start) for start in range(0, resamples, batch)]


def _standard_error(sums: Floats, sizes: Floats) -> float:
    """Of the mean over images (Liang & Zeger, doi:10.1093/biomet/73.1.13, with G / (G - 1))."""
    n_groups, mean = len(sums), sums.sum() / sizes.sum()
    if n_groups == 1:
        return float("inf")
    squares = ((sums - mean * sizes) ** 2).sum()
    return float(np.sqrt(n_groups / (n_groups - 1) * squares) / sizes.sum())
