"""From scores per image to a leaderboard, and what in it is too good to be true.

Scores are first averaged over the seeds of a method, then over images; intervals and p-values come
from resampling whole groups (patients), because images of one patient are not independent.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vesselrl.errors import VesselrlError, first_few
from vesselrl.metrics.statistics import group_bootstrap_mean, holm, paired_difference
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.words import counted
from vesselrl.rl.pixel.parameters import PIXEL_RL, SA2VA_RL

SCORES = (
    "dice", "recall", "precision", "iou", "cldice", "hd95", "segmenter_calls", "seconds",
    "components_error", "thin_recall", "thick_recall", "thin_share",
)  # fmt: skip
IDENTITY = ("method", "seed", "image", "group", "split")
NOT_FOR_USE = ("random", "oracle")
"""Kinds that are shown but never recommended: a control, and what uses the ground truth."""
TIE = 0.001
"""Two Dice scores of one image nearer than this count as a tie."""
NEAR_TRUTH = 0.99
"""A Dice this high is suspicious: two people who draw the same vessels agree far less."""
NEARLY_ALL = 0.9
"""The share of images near the truth that is suspicious."""


def image_scores(metrics_per_image: pd.DataFrame, objective: tuple[str, ...]) -> pd.DataFrame:
    """Scores of each method on each image, averaged over its seeds.

    Args:
        metrics_per_image: columns method, seed, image, group and ``SCORES``.
        objective: the scores whose mean becomes the column ``objective``.

    Returns:
        Index (method, image), columns group, ``SCORES``, the further metrics that conf asked for
        and ``objective``; every method has the same images in the same order.

    Raises:
        VesselrlError: columns are missing; a method, or one seed of it, lacks images that others
            have.
    """
    scores = metrics_per_image
    unknown = [score for score in SCORES if score not in scores]
    if unknown:
        raise VesselrlError(
            f"metrics_per_image.csv lacks the columns {', '.join(unknown)}: an earlier version "
            "made it. Run: kedro run --pipeline evaluation"
        )
    images = set(scores["image"])
    for (method, seed), of_seed in scores.groupby(["method", "seed"]):
        missing = sorted(images - set(of_seed["image"]))
        if missing:
            raise VesselrlError(
                f"Method ‘{method}’ (seed {seed}) has no scores for {len(missing)} of "
                f"{len(images)} images ({first_few(missing)}); methods are compared on the "
                "same images only. Run: kedro run --pipeline evaluation"
            )
    measured = [column for column in scores if column not in IDENTITY]
    means = scores.groupby(["method", "image"], sort=True)[measured].mean()
    means.insert(0, "group", scores.groupby(["method", "image"], sort=True)["group"].first())
    means["objective"] = means[list(objective)].mean(axis="columns")
    return means


def suspicions(metrics_per_image: pd.DataFrame) -> dict[str, str]:
    """Which methods score too well to be true, and why, in words.

    Images whose truth is empty do not count: whoever finds nothing there is right.

    Args:
        metrics_per_image: columns method, seed, dice and thin_share (NaN where the truth is empty).

    Returns:
        Method → a sentence; of several seeds the first that is suspicious is told of.
    """
    vessels = metrics_per_image[metrics_per_image["thin_share"].notna()]
    found: dict[str, str] = {}
    for (method, seed), dice in vessels.groupby(["method", "seed"])["dice"]:
        near = int((dice >= NEAR_TRUTH).sum())
        if near < NEARLY_ALL * len(dice) or method in found:
            continue
        agreement = (
            f"identical to the truth on every test image ({len(dice)})"
            if (dice == 1).all()
            else f"nearly identical to the truth (Dice of {NEAR_TRUTH} or more) on {near} of "
            f"{counted(len(dice), 'test image')}"
        )
        found[str(method)] = (
            f"‘{method}’ (seed {seed}) is {agreement}: is the truth leaking into it?"
        )
    return found


def made_by_rl(settings: Mapping[str, Any]) -> bool:
    """Whether reinforcement learning made what a method needs."""
    return settings.get("kind") == "policy" or settings.get("network") in (PIXEL_RL, SA2VA_RL)


def leaderboard(
    metrics_per_image: pd.DataFrame,
    methods: Mapping[str, Mapping[str, Any]],
    settings: ReportParameters,
    seed: int,
) -> pd.DataFrame:
    """One row a method, the highest objective first.

    Args:
        metrics_per_image: columns method, seed, image, group and ``SCORES``.
        methods: method → its settings, of which ``kind`` is read, and ``passes``, those through
            networks of our own an image, where there are any.
        settings: objective, targets, baseline and statistics.
        seed: of the resampling.

    Returns:
        Columns method, kind, by_rl (whether reinforcement learning made what it needs), deployable,
        network_passes, images, groups, seeds; objective, dice and recall, each with ``_low`` and
        ``_high`` (confidence interval); dice_sd_over_seeds (NaN with one seed); the other scores
        (hd95 in pixels, seconds an image); difference (in Dice, to the baseline, paired),
        difference_low, difference_high, difference_p (Holm-corrected; NaN for the baseline),
        effect_size (rank-biserial, of groups), wins, ties, losses (images, against the baseline);
        targets_met.
    """
    scores = image_scores(metrics_per_image, settings.objective)
    names = list(scores.index.unique("method"))
    if settings.baseline not in names:
        raise VesselrlError(
            f"report.baseline is ‘{settings.baseline}’, which was not evaluated; "
            f"the methods are {', '.join(names)}."
        )
    baseline = scores.loc[settings.baseline]
    groups = baseline["group"].to_numpy()
    resampling: dict[str, Any] = {
        "resamples": settings.bootstrap_resamples,
        "alpha": settings.alpha,
        "seed": seed,
    }
    rows = []
    for method in names:
        own = scores.loc[method]
        of_method = metrics_per_image[metrics_per_image["method"] == method]
        per_seed = of_method.groupby("seed")["dice"].mean()
        row: dict[str, Any] = {
            "method": method,
            "kind": methods.get(method, {}).get("kind", "other"),
            "by_rl": made_by_rl(methods.get(method, {})),
            "deployable": methods.get(method, {}).get("kind") not in NOT_FOR_USE,
            "network_passes": methods.get(method, {}).get("passes", 0),
            "images": len(own),
            "groups": len(set(groups)),
            "seeds": len(per_seed),
        }
        for score in ("objective", "dice", "recall"):
            interval = group_bootstrap_mean(own[score].to_numpy(), groups, **resampling)
            row |= {score: interval.mean, f"{score}_low": interval.low}
            row[f"{score}_high"] = interval.high
        row["dice_sd_over_seeds"] = per_seed.std()
        measured = own.drop(columns="group").mean()
        row |= {score: mean for score, mean in measured.items() if score not in row}
        difference = own["dice"].to_numpy() - baseline["dice"].to_numpy()
        paired = paired_difference(difference, groups, **resampling)
        row |= {"difference": paired.mean, "difference_low": paired.low}
        row |= {"difference_high": paired.high, "difference_p": paired.p_value}
        row["effect_size"] = paired.effect_size
        row["wins"] = int((difference > TIE).sum())
        row["ties"] = int((np.abs(difference) <= TIE).sum())
        row["losses"] = int((difference < -TIE).sum())
        row["targets_met"] = all(own[s].mean() >= t for s, t in settings.targets.items())
        rows.append(row)
    board = pd.DataFrame(rows)
    others = board["method"] != settings.baseline
    board.loc[~others, "difference_p"] = np.nan
    board.loc[others, "difference_p"] = holm(board.loc[others, "difference_p"].to_numpy())
    # Of equals the cheapest stands first.
    order = ["objective", "segmenter_calls", "method"]
    return board.sort_values(order, ascending=[False, True, True], ignore_index=True)
