"""How well a mask agrees with the truth: one definition of each score.

With TP, FP, FN the pixels in both, only in the prediction, only in the truth:
``dice = 2 TP / (2 TP + FP + FN)``, ``iou = TP / (TP + FP + FN)``, ``recall = TP / (TP + FN)``,
``precision = TP / (TP + FP)``.

Empty masks: if both are empty every overlap score is 1 and HD95 is 0; if exactly one is empty every
overlap score is 0 and HD95 is the image's diagonal, the largest distance there could be.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


def mask_metrics(prediction: Mask, truth: Mask) -> dict[str, float]:
    """All scores of one mask.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).

    Returns:
        ``dice``, ``iou``, ``recall``, ``precision``, ``cldice`` in [0, 1] and ``hd95`` in pixels.

    Raises:
        ValueError: the masks have different shapes.
    """
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    if prediction.shape != truth.shape:
        raise ValueError(
            f"The prediction has shape {prediction.shape}, the truth {truth.shape}; "
            "they must be masks of the same image."
        )
    overlaps = {
        key: float(score[0]) for key, score in overlap_scores(prediction[None], truth).items()
    }
    return {
        **overlaps,
        "iou": overlaps["dice"] / (2 - overlaps["dice"]),
        "cldice": cldice(prediction, truth),
        "hd95": hd95(prediction, truth),
    }


def overlap_scores(predictions: Mask, truth: Mask) -> dict[str, Scores]:
    """Dice, recall and precision of many masks of one image.

    Args:
        predictions: bool (N, H, W).
        truth: bool (H, W).

    Returns:
        ``dice``, ``recall``, ``precision``, each float64 (N,) in [0, 1].
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


def cldice(prediction: Mask, truth: Mask) -> float:
    """Centreline Dice in [0, 1]: do the masks cover each other's centrelines?

    With S(·) the skeleton, the harmonic mean of topology precision ``|S(P) ∩ T| / |S(P)|`` and
    topology sensitivity ``|S(T) ∩ P| / |S(T)|`` (Shit et al., "clDice - a novel topology-preserving
    loss function for tubular structure segmentation", CVPR 2021).

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).
    """
    if not prediction.any() or not truth.any():
        return float(prediction.any() == truth.any())
    covered = _covered(skeletonize(prediction), truth)
    found = _covered(skeletonize(truth), prediction)
    return 2 * covered * found / (covered + found) if covered + found else 0.0


def hd95(prediction: Mask, truth: Mask) -> float:
    """The 95th percentile Hausdorff distance in pixels, symmetric.

    From each boundary pixel of one mask the distance to the nearest boundary pixel of the other; of
    these the 95th percentile; of the two directions the larger (as MONAI's
    ``compute_hausdorff_distance(percentile=95)``). A boundary pixel is a mask pixel with one of its
    four neighbours outside the mask or the image.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).
    """
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() == truth.any() else float(np.hypot(*truth.shape))
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    return max(
        float(np.percentile(ndimage.distance_transform_edt(~edge_to)[edge_from], 95))
        for edge_from, edge_to in (edges, edges[::-1])
    )


def _covered(skeleton: Mask, mask: Mask) -> float:
    """The fraction of a skeleton that lies in a mask."""
    length = int(skeleton.sum())
    return int((skeleton & mask).sum()) / length if length else 0.0
