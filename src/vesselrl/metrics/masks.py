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
    both = int((prediction & truth).sum())
    either = int((prediction | truth).sum())
    in_prediction, in_truth = int(prediction.sum()), int(truth.sum())
    empty = in_prediction == in_truth == 0
    return {
        "dice": _ratio(2 * both, in_prediction + in_truth, empty),
        "iou": _ratio(both, either, empty),
        "recall": _ratio(both, in_truth, empty),
        "precision": _ratio(both, in_prediction, empty),
        "cldice": cldice(prediction, truth),
        "hd95": hd95(prediction, truth),
    }


def dice_scores(predictions: Mask, truth: Mask) -> npt.NDArray[np.float64]:
    """Dice of many masks of one image.

    Args:
        predictions: bool (N, H, W).
        truth: bool (H, W).

    Returns:
        float64 (N,) in [0, 1].
    """
    masks = predictions.reshape(len(predictions), truth.size)
    sizes = np.count_nonzero(masks, axis=1) + np.count_nonzero(truth)
    both = np.count_nonzero(masks[:, truth.ravel()], axis=1)
    scores = np.ones(len(masks))
    np.divide(2.0 * both, sizes, out=scores, where=sizes > 0)
    return scores


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
    return _ratio(int((skeleton & mask).sum()), int(skeleton.sum()), empty=False)


def _ratio(part: int, whole: int, empty: bool) -> float:
    """A fraction; 0 / 0 is 1 where both masks are empty, else 0."""
    return part / whole if whole else float(empty)
