"""The report card: may this reward network train a policy?

All figures are computed over the masks a policy could choose (every prompt, threshold and
operation) for images of patients the network was not trained on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.reward.calibration import Line
from vesselrl.reward.names import AGAINST_TRUTH, hack_name
from vesselrl.reward.parameters import FitnessParameters

ImageScores = Mapping[str, Scores]
"""Of one image, see `vesselrl.rl.setting_scores.report_card_scores`."""

RIVAL = "rival_"
"""How the scores of rivals begin."""


def report_card(images: Sequence[ImageScores], objective: Sequence[str]) -> dict[str, float | None]:
    """Agreement of predicted with true scores.

    Args:
        images: the scores of each image.
        objective: the scores whose mean a policy is paid.

    Returns:
        Of Dice: see `agreement`; ``mae_raw``, the mean absolute error before calibration;
        ``calibration_error``, the expected calibration error over ten equal bins (Guo et al., "On
        calibration of modern neural networks", ICML 2017); ``disagreement_r``, Spearman's r between
        the members' disagreement and the error of what they predict, None for a single member. Of
        the objective:
        ``objective_tau`` and ``objective_regret``, as ``within_image_tau`` and ``top1_regret``.
        Without images ``n_images`` alone.
    """
    if not images:
        return {"n_images": 0}
    true, predicted, raw, disagreement = (
        np.concatenate([image[key] for image in images])
        for key in ("true_dice", "predicted_dice", "raw_dice", "disagreement")
    )
    paid = [
        (objective_of(image, objective, "raw_"), objective_of(image, objective, "true_"))
        for image in images
    ]
    return {
        **agreement([(image["raw_dice"], image["true_dice"]) for image in images]),
        "mae": float(np.abs(predicted - true).mean()),
        "mae_raw": float(np.abs(raw - true).mean()),
        "calibration_error": _calibration_error(predicted, true),
        "disagreement_r": _spearman(disagreement, np.abs(predicted - true)),
        "objective_tau": within_image_tau(paid),
        "objective_regret": top1_regret(paid),
        "n_images": len(images),
    }


def rival_cards(
    val: Sequence[ImageScores], test: Sequence[ImageScores]
) -> dict[str, dict[str, dict[str, float]]]:
    """The same for what else could judge masks.

    Each rival has a line of its own to the true Dice, fitted on validation images, as the reward
    network has.

    Args:
        val: the scores of each validation image; at least one.
        test: the scores of each test image.

    Returns:
        Name → ``val`` and ``test`` → `agreement`, ``mae`` and ``n_images``.
    """
    cards = {}
    for key in (key for key in val[0] if key.startswith(RIVAL)):
        line = Line.fit(*(np.concatenate([i[k] for i in val]) for k in (key, "true_dice")))
        cards[key.removeprefix(RIVAL)] = {
            split: _rival_card([(image[key], image["true_dice"]) for image in images], line)
            for split, images in (("val", val), ("test", test))
        }
    return cards


def _rival_card(pairs: Sequence[tuple[Scores, Scores]], line: Line) -> dict[str, float]:
    if not pairs:
        return {"n_images": 0}
    error = np.mean([np.abs(line(judged) - true).mean() for judged, true in pairs])
    return {**agreement(pairs), "mae": float(error), "n_images": len(pairs)}


def agreement(pairs: Sequence[tuple[Scores, Scores]]) -> dict[str, float]:
    """How well a judge knows and orders masks.

    Args:
        pairs: of each image the judged and the true scores of its masks, float64 (N,); at least one
            image, each with the same masks.

    Returns:
        ``pooled_r``: Pearson's r over all masks; ``across_image_r``: r of the images' means;
        ``within_image_tau`` and ``top1_regret``: see the functions of that name.
    """
    judged, true = (np.stack(scores) for scores in zip(*pairs, strict=True))
    return {
        "pooled_r": _pearson(judged.ravel(), true.ravel()),
        "across_image_r": _pearson(judged.mean(1), true.mean(1)),
        "within_image_tau": within_image_tau(pairs),
        "top1_regret": top1_regret(pairs),
    }


def top1_regret(pairs: Iterable[tuple[Scores, Scores]]) -> float:
    """True score lost by taking the mask that is judged best instead of the best, mean of images.

    Args:
        pairs: of each image the judged and the true scores of its masks; at least one image.
    """
    return float(np.mean([true.max() - true[judged.argmax()] for judged, true in pairs]))


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


def fitness(
    val: Mapping[str, float | None], hacks: pd.DataFrame, parameters: FitnessParameters
) -> dict[str, Any]:
    """The verdict in words, from validation images alone.

    A policy chooses among masks that a segmenter offers, never the truth: that a network takes too
    much or too little for the truth itself shows how fine it sees, which is said, but does not make
    it unfit. Where it ranks these right in Dice alone, what is paid beside Dice is to blame.

    Args:
        val: `report_card` of validation images.
        hacks: `vesselrl.reward.hacks.ranked_right` of validation images.
        parameters: what a network must reach.

    Returns:
        ``fit`` and ``reason``.
    """
    tau = val["objective_tau"] or 0.0
    wrong = list(hacks.loc[~hacks["right"].astype(bool), "hack"])
    deceiving = [hack for hack in wrong if hack not in AGAINST_TRUTH]
    blurred = [hack for hack in wrong if hack in AGAINST_TRUTH]
    ordered = tau >= parameters.tau
    sentences = [
        f"It orders the masks of one validation image with Kendall's tau {tau:.2f}, "
        + (
            f"which reaches the {parameters.tau:.2f} asked for."
            if ordered
            else f"which is below the {parameters.tau:.2f} asked for: a policy would learn little "
            "or learn its errors."
        ),
        "It is deceived by "
        + "; ".join(map(hack_name, deceiving))
        + ": a policy could raise its reward without making better masks."
        if deceiving
        else "No mask that a policy could find deceives it.",
    ]
    if blurred:
        names = "; ".join(map(hack_name, blurred))  # which hold commas
        in_dice = hacks.set_index("hack")["dice_share"][blurred].min()
        sentences.append(
            f"It rates {names} above the truth itself: what it rates best may be off in the same "
            "way. "
            + (
                f"In Dice alone it ranks them right on {in_dice:.0%} of the images: where borders "
                "are uncertain, the objective pays for recall."
                if in_dice >= parameters.hacks_right
                else "In Dice alone it does so too: it does not see finely enough."
            )
        )
    return {"fit": bool(ordered and not deceiving), "reason": " ".join(sentences)}


def _spearman(a: Scores, b: Scores) -> float | None:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


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
