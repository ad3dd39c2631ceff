"""Expected overlap of a mask with an unknown truth, in closed form.

Let ``q`` be the probability that a pixel of the truth is vessel and ``m`` a mask. The probability
that the mask is wrong there is ``e = m (1 - q) + (1 - m) q``, and in expectation

    TP = sum m (1 - e) = sum m q,    FP = sum m e,    FN = sum (1 - m) e.

Dice is then ``2 TP / (2 TP + FP + FN) = 2 sum m q / (sum m + sum q)``, recall ``TP / (TP + FN) =
sum m q / sum q`` and precision ``TP / (TP + FP) = sum m q / sum m``: ratios of expectations, which
for masks of many pixels are close to the expectations of the ratios (cf. Popordanoska et al., "On
the relationship between calibrated predictors and unbiased volume estimation", MICCAI 2021).
"""

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import Scores, scores_of_sizes

Probability = npt.NDArray[np.float32]

_AT_ONCE = 450_000
"""Products that are summed at once: for more, OpenBLAS takes all cores, which worker processes have
already; each would wait for the others, and last digits would depend on the number of cores."""


def expected_scores(masks: npt.NDArray[np.bool_], q: Probability) -> dict[str, Scores]:
    """Expected Dice, recall and precision of masks.

    Args:
        masks: bool (N, H, W).
        q: float32 (M, H, W) in [0, 1], M opinions on where the truth is.

    Returns:
        ``dice``, ``recall``, ``precision``, each float64 (N, M) in [0, 1]; for empty masks see
        `vesselrl.metrics.masks`.

    Examples:
        Of three pixels one is surely vessel and one perhaps; which mask is better?

        >>> q = np.array([[[1, 0.5, 0]]], np.float32)
        >>> masks = np.array([[[1, 0, 0]], [[1, 1, 0]]], bool)
        >>> expected_scores(masks, q)["dice"].round(3)
        array([[0.8  ],
               [0.857]])
    """
    opinions = q.reshape(len(q), -1)
    both = np.zeros((len(masks), len(q)))
    step = max(1, _AT_ONCE // len(q))
    for place, mask in enumerate(masks):  # a part as floats at a time, they are large
        flat = mask.ravel()
        for start in range(0, flat.size, step):
            part = slice(start, start + step)
            both[place] += opinions[:, part] @ flat[part].astype(np.float32)
    return scores_of_sizes(
        both,
        in_prediction=np.array([[np.count_nonzero(mask)] for mask in masks], float).reshape(-1, 1),
        in_truth=opinions.sum(1, dtype=np.float64),
    )


def error_probability(mask: npt.NDArray[np.bool_], opinions: Probability) -> Probability:
    """The probability that a mask is wrong at a pixel, ``m (1 - q) + (1 - m) q``, mean of members.

    Args:
        mask: bool (H, W).
        opinions: float32 (M, H, W) in [0, 1], where the members believe the truth to be.

    Returns:
        float32 (H, W) in [0, 1].

    Examples:
        >>> error_probability(np.array([[True, False]]), np.array([[[0.75, 0.25]]], np.float32))
        array([[0.25, 0.25]], dtype=float32)
    """
    q = opinions.mean(0)
    return np.where(mask, 1 - q, q)
