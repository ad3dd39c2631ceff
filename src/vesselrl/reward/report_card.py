"""The report card: may this reward network train a policy?

All figures are computed over the masks a policy could choose (every prompt, threshold and operation)
for images of patients the network was not trained on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

Scores = Mapping[str, npt.NDArray[np.float64]]


def report_card(images: Sequence[Scores]) -> dict[str, float]:
    """Agreement of predicted with true Dice.

    Args:
        images: per image ``true_dice``, ``predicted_dice`` (calibrated) and ``predicted_raw``, each
            float64 (A,).

    Returns:
        ``pooled_r``: Pearson's r over all masks; ``across_image_r``: r of the images' means;
        ``within_image_tau``: Kendall's tau within an image, averaged; ``top1_regret``: Dice lost by
        taking the mask predicted best instead of the best one; ``mae``, ``mae_raw``: mean absolute
        error after and before calibration; ``calibration_error``: expected calibration error over
        ten equal bins; ``n_images``.
    """
    true = np.stack([image["true_dice"] for image in images])
    predicted = np.stack([image["predicted_dice"] for image in images])
    raw = np.stack([image["predicted_raw"] for image in images])
    rows = np.arange(len(true))
    taus = [kendalltau(r, t).statistic for r, t in zip(raw, true, strict=True)]
    return {
        "pooled_r": _pearson(predicted.ravel(), true.ravel()),
        "across_image_r": _pearson(predicted.mean(1), true.mean(1)),
        "within_image_tau": float(np.nanmean(np.nan_to_num(taus))),
        "top1_regret": float((true.max(1) - true[rows, raw.argmax(1)]).mean()),
        "mae": float(np.abs(predicted - true).mean()),
        "mae_raw": float(np.abs(raw - true).mean()),
        "calibration_error": _calibration_error(predicted.ravel(), true.ravel()),
        "n_images": len(images),
    }


def fitness(val: Mapping[str, float], fit_tau: float) -> dict[str, Any]:
    """The verdict in words, from validation images alone: ``fit`` and ``reason``."""
    tau = val["within_image_tau"]
    fit = tau >= fit_tau
    relation = "reaches" if fit else "is below"
    return {
        "fit": bool(fit),
        "reason": (
            f"Within one image it orders masks with Kendall's tau {tau:.2f} on validation patients, "
            f"which {relation} the {fit_tau:.2f} asked for; "
            + (
                "a policy can learn from it."
                if fit
                else "a policy trained on it would learn little or learn its errors."
            )
        ),
    }


def _pearson(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _calibration_error(
    predicted: npt.NDArray[np.float64], true: npt.NDArray[np.float64], bins: int = 10
) -> float:
    which = np.clip((predicted * bins).astype(int), 0, bins - 1)
    gaps = [
        np.abs(predicted[which == b].mean() - true[which == b].mean()) * np.mean(which == b)
        for b in range(bins)
        if np.any(which == b)
    ]
    return float(np.sum(gaps))
