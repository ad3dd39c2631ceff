"""A method on images whose truth is known: how its masks were rated, and how good they were."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from vesselrl.metrics.masks import Scores, overlap_scores
from vesselrl.prediction.calibration import Calibration, groups_needed
from vesselrl.prediction.out_of_distribution import Reference
from vesselrl.prediction.predictor import Image, Predictor
from vesselrl.reward.scoring import SCORES
from vesselrl.segmenters.answers import Answers

RAW, TRUE = "raw_", "true_"
TRIAL_COLUMNS = [
    "image", "group", "split", *(f"{by}{score}" for by in (RAW, TRUE) for score in SCORES),
]  # fmt: skip
REVIEWED = 0.2
"""Share of a list, the worst first, that somebody may have time to look at."""
WORST = 0.1
"""Share of images that should be found there."""


def trial(
    predictor: Predictor, image: Image, levels: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Scores of the method's mask of an image, as the reward network expects them and as they are.

    Args:
        predictor: of a recipe, calibrated or not.
        image: uint8 (H, W) or (H, W, 3).
        levels: uint8 (P, H, W), the segmenter's answers as they are stored; nothing is asked again.
        truth: bool (H, W).
    """
    answers = Answers(lambda wanted: levels[list(wanted)], len(levels))
    made = predictor.segment(image, predictor.choose(image, answers))
    expected, _ = predictor.rate(image, made)
    true = overlap_scores(made.mask[None], truth)
    return {f"{RAW}{name}": expected[name] for name in SCORES} | {
        f"{TRUE}{name}": float(true[name][0]) for name in SCORES
    }


def scores_of(trials: pd.DataFrame, by: str) -> dict[str, Scores]:
    """Score → float64 (N,), of the images of a table of trials; ``by`` is `RAW` or `TRUE`."""
    return {name: trials[f"{by}{name}"].to_numpy(float) for name in SCORES}


def check(calibration: Calibration, trials: pd.DataFrame) -> dict[str, Any]:
    """Whether a calibration keeps what it promises, on images that had no part in it.

    Args:
        calibration: of the method.
        trials: of test images, columns `TRIAL_COLUMNS`; there may be none.

    Returns:
        ``coverage`` (asked for), ``validation_groups``, ``groups_needed``; and of the test images
        their number ``images`` and ``groups``; ``covered``, the share whose Dice lies in its
        interval; ``width``, the mean of the intervals; ``mean_error``, of the predicted Dice;
        ``spearman``, the rank correlation of predicted and true Dice; ``worst_found``, of the
        `WORST` share of the images, those of the least true Dice, how many are in the first
        `REVIEWED` share of the list that begins with the least predicted one. What cannot be told
        is None.
    """
    result: dict[str, Any] = {
        "coverage": calibration.coverage,
        "validation_groups": calibration.groups,
        "groups_needed": groups_needed(calibration.coverage),
        "images": len(trials),
        "groups": int(trials["group"].nunique()),
    }
    names = ("covered", "width", "mean_error", "spearman", "worst_found")
    if trials.empty:
        return result | dict.fromkeys(names)
    raw, true = scores_of(trials, RAW)["dice"], scores_of(trials, TRUE)["dice"]
    predicted = np.array([calibration.scores({"dice": score})["dice"] for score in raw])
    low, high = np.transpose([calibration.interval(score) for score in raw])
    return result | {
        "covered": float(np.mean((low <= true) & (true <= high))),
        "width": float(np.mean(high - low)),
        "mean_error": float(np.abs(predicted - true).mean()),
        "spearman": rank_correlation(predicted, true),
        "worst_found": worst_found(predicted, true),
    }


def rank_correlation(predicted: Scores, true: Scores) -> float | None:
    """Spearman's; None where one of the two does not vary."""
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return None
    return float(stats.spearmanr(predicted, true).statistic)


def worst_found(predicted: Scores, true: Scores) -> float:
    """Share of the worst images that are in the first part of the list, see `check`."""
    listed = np.argsort(predicted, kind="stable")[: max(1, round(REVIEWED * len(true)))]
    worst = np.argsort(true, kind="stable")[: max(1, round(WORST * len(true)))]
    return float(np.isin(worst, listed).mean())


def calibration_of(
    trials: pd.DataFrame, coverage: float, reference: Reference | None
) -> Calibration:
    """What trials on validation images teach; see `vesselrl.prediction.calibration`."""
    groups = trials["group"].astype(str).tolist()
    return Calibration.fit(
        scores_of(trials, RAW), scores_of(trials, TRUE), groups, coverage, reference
    )
