"""The report card: may this reward network train a policy?

All figures are computed over the masks a policy could choose (every prompt, threshold and
operation) for images of patients the network was not trained on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from vesselrl.metrics.masks import Scores

ImageScores = Mapping[str, Scores]
"""Of one image, see `vesselrl.rl.scenes.score_settings`."""


def report_card(images: Sequence[ImageScores]) -> dict[str, float]:
    """Agreement of predicted with true Dice.

    Args:
        images: the scores of each image.

    Returns:
        ``pooled_r``: Pearson's r over all masks; ``across_image_r``: r of the images' means;
        ``within_image_tau``: Kendall's tau within an image, averaged; ``top1_regret``: Dice lost by
        taking the mask predicted best instead of the best one; ``mae``, ``mae_raw``: mean absolute
        error after and before calibration; ``calibration_error``: expected calibration error over
        ten equal bins (Guo et al., "On calibration of modern neural networks", ICML 2017);
        ``n_images``. Without images that number alone.
    """
    if not images:
        return {"n_images": 0}
    true, predicted, raw = (
        np.stack([image[key] for image in images])
        for key in ("true_dice", "predicted_dice", "predicted_raw")
    )
    return {
        "pooled_r": _pearson(predicted.ravel(), true.ravel()),
        "across_image_r": _pearson(predicted.mean(1), true.mean(1)),
        **ordering(images, "predicted_raw"),
        "mae": float(np.abs(predicted - true).mean()),
        "mae_raw": float(np.abs(raw - true).mean()),
        "calibration_error": _calibration_error(predicted.ravel(), true.ravel()),
        "n_images": len(images),
    }


def ordering(images: Sequence[ImageScores], judge: str) -> dict[str, float]:
    """How well a judge orders the masks of one image: ``within_image_tau`` and ``top1_regret``.

    Args:
        images: the scores of each image; at least one.
        judge: key of the scores that judge.
    """
    lost = [
        image["true_dice"].max() - image["true_dice"][image[judge].argmax()] for image in images
    ]
    return {
        "within_image_tau": within_image_tau(
            (image[judge], image["true_dice"]) for image in images
        ),
        "top1_regret": float(np.mean(lost)),
    }


def within_image_tau(pairs: Iterable[tuple[Scores, Scores]]) -> float:
    """Kendall's tau between the predicted and true scores of an image's masks, mean over images.

    An image whose masks are all equally good has no order and does not count; a judge that finds
    all masks of an image equally good has tau 0 there. Without images the mean is 0.
    """
    taus = [
        kendalltau(predicted, true).statistic if np.ptp(predicted) > 0 else 0.0
        for predicted, true in pairs
        if np.ptp(true) > 0
    ]
    return float(np.mean(taus)) if taus else 0.0


def fitness(val: Mapping[str, float], fit_tau: float) -> dict[str, Any]:
    """The verdict in words, from validation images alone: ``fit`` and ``reason``."""
    tau = val["within_image_tau"]
    fit = tau >= fit_tau
    verdict = (
        f"which reaches the {fit_tau:.2f} asked for; a policy can learn from it."
        if fit
        else f"which is below the {fit_tau:.2f} asked for; a policy trained on it would learn "
        "little or learn its errors."
    )
    order = (
        f"Within one image it orders masks with Kendall's tau {tau:.2f} on validation patients, "
    )
    return {"fit": bool(fit), "reason": order + verdict}


def _pearson(a: Scores, b: Scores) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _calibration_error(predicted: Scores, true: Scores, bins: int = 10) -> float:
    which = np.clip((predicted * bins).astype(int), 0, bins - 1)
    gaps = [
        np.abs(predicted[which == b].mean() - true[which == b].mean()) * np.mean(which == b)
        for b in np.unique(which)
    ]
    return float(np.sum(gaps))
