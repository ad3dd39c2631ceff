"""Scores of a map cut at every threshold."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import objective_of, scores_of_sizes

CUTS = np.arange(1, 256) / 256
"""Every threshold that maps stored in one byte tell apart."""


def scores_over_cuts(
    levels: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.float64]]:
    """Scores of one map cut at every threshold of `CUTS`.

    A value exceeds k / 256 exactly when its level is at least k, so that two cumulative histograms
    give all masks' sizes.

    Args:
        levels: uint8 (H, W), see `vesselrl.segmenters.levels`.
        truth: bool (H, W).

    Returns:
        ``dice``, ``recall``, ``precision``, each float64 (255,).
    """

    def at_least(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        return np.bincount(values.ravel(), minlength=256)[::-1].cumsum()[::-1][1:].astype(float)

    truth_size = int(np.count_nonzero(truth))
    return scores_of_sizes(at_least(levels[truth]), at_least(levels), truth_size)


def best_cut(
    maps: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]], objective: Sequence[str]
) -> dict[str, float]:
    """The threshold at which maps of some images score best.

    Args:
        maps: of each image levels and truth, see `scores_over_cuts`.
        objective: the scores whose mean over the images decides; of equal thresholds the least.

    Returns:
        ``threshold``, ``objective`` and the mean ``dice``, ``recall`` and ``precision`` there; of
        no images the threshold is 0.5 and nothing else is known.
    """
    scores = [scores_over_cuts(levels, truth) for levels, truth in maps]
    if not scores:
        return {"threshold": 0.5}
    means = {name: np.mean([one[name] for one in scores], axis=0) for name in scores[0]}
    means["objective"] = objective_of(means, objective)
    best = int(means["objective"].argmax())
    return {"threshold": float(CUTS[best])} | {n: float(mean[best]) for n, mean in means.items()}
