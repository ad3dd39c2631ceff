"""Expected overlap of a mask with an unknown truth, in closed form.

Let ``q`` be the probability that a pixel of the truth is vessel and ``m`` a mask. The probability
that the mask is wrong there is ``e = m (1 - q) + (1 - m) q``, and in expectation

    TP = sum m (1 - e) = sum m q,    FP = sum m e,    FN = sum (1 - m) e.

Dice is then ``2 TP / (2 TP + FP + FN) = 2 sum m q / (sum m + sum q)``: the ratio of expectations,
which for masks of many pixels is close to the expectation of the ratio (cf. Popordanoska et al.,
"On the relationship between calibrated predictors and unbiased volume estimation", MICCAI 2021).
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


def error_probability(masks: npt.ArrayLike, q: npt.ArrayLike) -> Array:
    """Probability that each pixel of a mask is wrong: ``m (1 - q) + (1 - m) q``, shape of the inputs."""
    m, q = np.asarray(masks, np.float32), np.asarray(q, np.float32)
    return m + q - 2 * m * q


def expected_overlap(masks: npt.NDArray[np.bool_], q: Array) -> tuple[Array, Array, Array]:
    """Expected Dice, recall and precision of masks.

    Args:
        masks: bool (N, H, W).
        q: float (M, H, W) in [0, 1], M opinions on where the truth is.

    Returns:
        Three float64 arrays (N, M) in [0, 1]; an empty mask of an empty expectation scores 1.
    """
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    opinions = q.reshape(len(q), -1).astype(np.float32)
    true_positive = (flat @ opinions.T).astype(np.float64)
    in_mask = flat.sum(1, dtype=np.float64)[:, None]
    in_truth = opinions.sum(1, dtype=np.float64)[None, :]
    return (
        _ratio(2 * true_positive, in_mask + in_truth),
        _ratio(true_positive, np.broadcast_to(in_truth, true_positive.shape)),
        _ratio(true_positive, np.broadcast_to(in_mask, true_positive.shape)),
    )


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.ones_like(part), where=whole > 0)
