"""How well a mask agrees with the truth: one definition of each score.

With TP, FP, FN the pixels in both, only in the prediction, only in the truth:
``dice = 2 TP / (2 TP + FP + FN)``, ``iou = TP / (TP + FP + FN)``, ``recall = TP / (TP + FN)``,
``precision = TP / (TP + FP)``.

Empty masks: if both are empty every overlap score is 1 and HD95 is 0; if exactly one is empty every
overlap score is 0 and HD95 is the image's diagonal, the largest distance there could be. An empty
mask has no regions. Scores of a part of the truth (thin, thick) are NaN where the truth has no such
part: nothing was there to be found, so such an image says nothing and is left out of means.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.geometry import Geometry, Mask

Scores = npt.NDArray[np.float64]

THIN_RADIUS = 2.0
"""Vessels of at most this local radius in pixels, some four pixels wide, are called thin."""


def mask_metrics(prediction: Mask | Geometry, truth: Mask | Geometry) -> dict[str, float]:
    """All scores of one mask.

    Args:
        prediction: bool (H, W), or the geometry of it: further scores can share it.
        truth: bool (H, W), or the geometry of it: many predictions of one image can share it.

    Returns:
        ``dice``, ``iou``, ``recall``, ``precision``, ``cldice`` in [0, 1]; ``hd95`` in pixels;
        ``components_error``, see `components_error`; ``thin_recall``, ``thick_recall``,
        ``thin_share``, see `recall_by_width`.

    Raises:
        ValueError: the masks have different shapes.

    Examples:
        >>> truth = np.zeros((8, 8), bool)
        >>> truth[3:5] = True
        >>> scores = mask_metrics(np.roll(truth, 1, axis=0), truth)  # one pixel too low
        >>> scores["dice"], scores["hd95"]
        (0.5, 1.0)
    """
    found, true = (
        one if isinstance(one, Geometry) else Geometry(one) for one in (prediction, truth)
    )
    if found.mask.shape != true.mask.shape:
        raise ValueError(
            f"The prediction has shape {found.mask.shape}, the truth {true.mask.shape}; "
            "they must be masks of the same image."
        )
    overlaps = {
        key: float(score[0]) for key, score in overlap_scores(found.mask[None], true.mask).items()
    }
    return {
        **overlaps,
        "iou": overlaps["dice"] / (2 - overlaps["dice"]),
        "cldice": cldice(found, true),
        "hd95": hd95(found, true),
        "components_error": components_error(found, true),
        **recall_by_width(found.mask, true),
    }


def overlap_scores(predictions: Mask, truth: Mask) -> dict[str, Scores]:
    """Dice, recall and precision of many masks of one image.

    Args:
        predictions: bool (N, H, W).
        truth: bool (H, W).

    Returns:
        ``dice``, ``recall``, ``precision``, each float64 (N,) in [0, 1].

    Examples:
        >>> truth = np.eye(4, dtype=bool)
        >>> masks = np.array([truth, np.ones((4, 4), bool), np.zeros((4, 4), bool)])
        >>> overlap_scores(masks, truth)["recall"]
        array([1., 1., 0.])
    """
    return scores_of_sizes(
        both=np.array([np.count_nonzero(mask & truth) for mask in predictions], float),
        in_prediction=np.array([np.count_nonzero(mask) for mask in predictions], float),
        in_truth=int(np.count_nonzero(truth)),
    )


def scores_of_sizes(
    both: Scores, in_prediction: Scores, in_truth: Scores | int
) -> dict[str, Scores]:
    """Dice, recall and precision from numbers of pixels, counted or expected.

    Args:
        both: float64, pixels in the prediction and in the truth.
        in_prediction: float64, pixels in the prediction; it broadcasts with `both`.
        in_truth: pixels in the truth; it broadcasts with `both`.

    Returns:
        ``dice``, ``recall``, ``precision``, each float64 in [0, 1] of the shape of `both`.
    """
    in_all = in_prediction + in_truth

    def ratio(part: Scores, whole: Scores | int) -> Scores:
        empty = np.broadcast_to(in_all == 0, part.shape).astype(float)
        whole = np.broadcast_to(whole, part.shape)
        return np.divide(part, whole, out=empty, where=whole > 0)

    return {
        "dice": ratio(2 * both, in_all),
        "recall": ratio(both, in_truth),
        "precision": ratio(both, in_prediction),
    }


def objective_of(scores: Mapping[str, Any], objective: Sequence[str], prefix: str = "") -> Any:
    """What masks are worth: the mean of some of their scores.

    Args:
        scores: name → a float, or float64 (N,) of N masks.
        objective: names of the scores that count.
        prefix: what stands before these names in `scores`.

    Returns:
        A float64, or float64 (N,).

    Examples:
        >>> scores = {"dice": np.array([0.75, 0.5]), "recall": np.array([0.25, 1.0])}
        >>> objective_of(scores, ["dice", "recall"])
        array([0.5 , 0.75])
    """
    return np.mean([scores[prefix + name] for name in objective], axis=0)


def cldice(prediction: Geometry, truth: Geometry) -> float:
    """Centreline Dice in [0, 1]: do the masks cover each other's centrelines?

    With S(·) the skeleton, the harmonic mean of topology precision ``|S(P) ∩ T| / |S(P)|`` and
    topology sensitivity ``|S(T) ∩ P| / |S(T)|`` (Shit et al., "clDice - a novel topology-preserving
    loss function for tubular structure segmentation", CVPR 2021, arXiv:2003.07311).

    Examples:
        A vessel one pixel too narrow on either side keeps its centreline.

        >>> wide, narrow = np.zeros((2, 9, 64), bool)
        >>> wide[3:6], narrow[4] = True, True
        >>> round(cldice(Geometry(narrow), Geometry(wide)), 2)
        0.99
        >>> overlap_scores(narrow[None], wide)["dice"]
        array([0.5])
    """
    if prediction.empty or truth.empty:
        return float(prediction.empty == truth.empty)
    covered = float(truth.mask[prediction.skeleton].mean())
    found = float(prediction.mask[truth.skeleton].mean())
    return 2 * covered * found / (covered + found) if covered + found else 0.0


def hd95(prediction: Geometry, truth: Geometry) -> float:
    """The 95th percentile Hausdorff distance in pixels, symmetric.

    From each boundary pixel of one mask the distance to the nearest boundary pixel of the other; of
    these the 95th percentile; of the two directions the larger (as MONAI's
    ``compute_hausdorff_distance(percentile=95)``). A boundary pixel is a mask pixel with one of its
    four neighbours outside the mask or the image.

    Examples:
        >>> here, there = np.zeros((2, 9, 9), bool)
        >>> here[2], there[6] = True, True
        >>> hd95(Geometry(here), Geometry(there))
        4.0
    """
    if prediction.empty or truth.empty:
        return 0.0 if prediction.empty == truth.empty else float(np.hypot(*truth.mask.shape))
    outlines = prediction.outline, truth.outline
    return max(
        float(np.percentile(to.query(start.data)[0], 95))
        for start, to in (outlines, outlines[::-1])
    )


def components_error(prediction: Geometry, truth: Geometry) -> float:
    """By how many 8-connected regions the masks differ: the Betti number 0 error.

    Broken vessels and specks raise it. It compares numbers alone, so that a break and a lost region
    cancel out (Clough et al., "A topological loss function for deep-learning based image
    segmentation using persistent homology", IEEE TPAMI 44, 2022, arXiv:1910.01877, compare Betti
    numbers so).

    Examples:
        >>> truth = np.zeros((3, 9), bool)
        >>> truth[1] = True
        >>> broken = truth & (np.arange(9) != 4)
        >>> components_error(Geometry(broken), Geometry(truth))
        1.0
    """
    return float(abs(prediction.regions - truth.regions))


def recall_by_width(prediction: Mask, truth: Geometry) -> dict[str, float]:
    """Recall of thin and of thick vessels: recall alone hides lost branches behind the trunk.

    Args:
        prediction: bool (H, W).
        truth: whose local radius tells the two apart, see `THIN_RADIUS`.

    Returns:
        ``thin_recall``, ``thick_recall``: the share of the truth's thin and thick pixels that were
        found; ``thin_share``: the share of the truth's pixels that are thin. In [0, 1], or NaN
        where it would be a share of nothing.

    Examples:
        >>> trunk, branch = np.zeros((2, 40, 40), bool)
        >>> trunk[:, 10:20], branch[:, 30] = True, True
        >>> recall_by_width(trunk, Geometry(trunk | branch))["thin_recall"]
        0.0
    """
    found, thin = prediction[truth.mask], truth.local_radius <= THIN_RADIUS

    def share(of: Mask) -> float:
        return float(of.mean()) if of.size else float("nan")

    return {
        "thin_recall": share(found[thin]),
        "thick_recall": share(found[~thin]),
        "thin_share": share(thin),
    }
