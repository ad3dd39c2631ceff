"""Quality scores of a mask that need neither reference nor training.

They cost no labels, so a reward network is worth its own only where it orders masks better than
they do.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import entr

from vesselrl.metrics.masks import Scores, overlap_scores
from vesselrl.reward.closed_form import Probability, expected_scores
from vesselrl.reward.network import mean_candidate
from vesselrl.segmenters.answers import DEFAULT_THRESHOLD

Mask = npt.NDArray[np.bool_]

EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner belong together


def rival_scores(
    masks: Mask, probability: Probability, probabilities: Probability
) -> dict[str, Scores]:
    """What masks are worth by four rules of thumb; the higher the better.

    Args:
        masks: bool (N, H, W).
        probability: float32 (H, W) in [0, 1], the map they were cut from, one of `probabilities`.
        probabilities: float32 (P, H, W) in [0, 1], the maps of all prompts.

    Returns:
        Each float64 (N,): ``confidence``, the Dice that the segmenter expects of itself when the
        mean of all maps is taken for the truth; ``entropy``, see `certainty`; ``agreement`` and
        ``connectivity``, see the functions of that name.
    """
    own_opinion = mean_candidate(probabilities)[None]
    return {
        "confidence": expected_scores(masks, own_opinion)["dice"][:, 0],
        "entropy": certainty(masks, probability),
        "agreement": agreement(masks, probability, probabilities),
        "connectivity": np.array([connectivity(mask) for mask in masks], float),
    }


def certainty(masks: Mask, probability: Probability) -> Scores:
    """One less the mean binary entropy, in bits, of the map over the pixels of a mask.

    Mehrtash et al., "Confidence calibration and predictive uncertainty estimation for deep medical
    image segmentation", IEEE TMI 39, 2020, arXiv:1911.13273, predict the Dice of a structure from
    this mean.

    Args:
        masks: bool (N, H, W).
        probability: float32 (H, W) in [0, 1], the map they were cut from.

    Returns:
        float64 (N,) in [0, 1]; 0 for an empty mask.
    """
    p = probability.astype(float)
    certain = 1 - (entr(p) + entr(1 - p)) / np.log(2)
    return np.array([certain[mask].mean() if mask.any() else 0.0 for mask in masks], float)


def agreement(masks: Mask, probability: Probability, probabilities: Probability) -> Scores:
    """Mean Dice of masks with the other prompts' masks at 0.5.

    As the agreement of several segmenters, or of several passes of one, tells of quality (e.g. Roy
    et al., "Bayesian QuickNAT", NeuroImage 195, 2019, arXiv:1811.09800).

    Args:
        masks: bool (N, H, W).
        probability: float32 (H, W) in [0, 1], the map they were cut from, one of `probabilities`.
        probabilities: float32 (P, H, W) in [0, 1], the maps of all prompts.

    Returns:
        float64 (N,) in [0, 1]; 0 where there is no other prompt.
    """
    own, *everyone = (
        overlap_scores(masks, one > DEFAULT_THRESHOLD)["dice"]
        for one in (probability, *probabilities)
    )
    # Less the own mask once, not all that are equal to it: a prompt that answers alike agrees.
    return (np.sum(everyone, axis=0) - own) / max(1, len(everyone) - 1)


def connectivity(mask: Mask) -> float:
    """How much a mask looks like a vessel tree: of few pieces, long and thin.

    The chance that two of its pixels are connected, which is the sum of the pieces' squared shares
    of the area, times ``1 - 4 pi area / length^2`` of its outline, which is 0 for a disc and nearly
    1 for a long line. The connectivity of Gegundez-Arias et al., "A function for quality evaluation
    of retinal vessel segmentations", IEEE TMI 31, 2012, counts the pieces, too, but compares their
    number with that of a reference.

    Args:
        mask: bool (H, W).

    Returns:
        In [0, 1); 0 for an empty mask, and for a full one: the border of the image is no outline.
    """
    labels, _ = ndimage.label(mask, EIGHT)
    pieces = np.bincount(labels[mask])[1:].astype(float)
    # Crofton's formula: a curve crosses rows and columns 4 / pi times its length on average.
    crossings = sum(map(np.count_nonzero, (mask[1:] ^ mask[:-1], mask[:, 1:] ^ mask[:, :-1])))
    outline, area = np.pi / 4 * crossings, pieces.sum()
    if not outline:
        return 0.0
    connected = (pieces @ pieces) / area**2
    return float(connected * max(0.0, 1 - 4 * np.pi * area / outline**2))
