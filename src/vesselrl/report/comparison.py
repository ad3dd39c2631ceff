"""From scores per image to a leaderboard and a verdict.

Scores are first averaged over the seeds of a method, then over images; intervals and p-values come
from resampling whole groups (patients), because images of one patient are not independent.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vesselrl.errors import VesselrlError
from vesselrl.metrics.statistics import (
    PairedDifference,
    group_bootstrap_mean,
    holm,
    paired_bootstrap,
)
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.words import counted, objective_name, p_of

SCORES = ("dice", "recall", "precision", "iou", "cldice", "hd95", "segmenter_calls", "seconds")
NOT_FOR_USE = ("random", "oracle")
"""Kinds that are shown but never recommended: a control, and what uses the ground truth."""
LEARNED_BY_RL = "policy"
"""The kind of the methods that reinforcement learning made (``evaluation.methods`` in conf)."""
TRAINED_POLICIES = (LEARNED_BY_RL, "regressor")
"""Kinds that choose for each image by what they learned, however they learned it."""
TIE = 0.001
"""Two Dice scores of one image nearer than this count as a tie."""
RULE = (
    "Among the methods not significantly worse than the best (paired bootstrap over groups, "
    "Holm-corrected), the cheapest to deploy: fewest segmenter calls an image (unknown ones count "
    "as more than any), then without a trained policy, then the highest objective."
)


def image_scores(metrics_per_image: pd.DataFrame, objective: tuple[str, ...]) -> pd.DataFrame:
    """Scores of each method on each image, averaged over its seeds.

    Args:
        metrics_per_image: columns method, seed, image, group and ``SCORES``.
        objective: the scores whose mean becomes the column ``objective``.

    Returns:
        Index (method, image), columns group, ``SCORES`` and ``objective``; every method has the
        same images in the same order.

    Raises:
        VesselrlError: a method lacks images that others have.
    """
    scores = metrics_per_image
    means = scores.groupby(["method", "image"], sort=True)[list(SCORES)].mean()
    means.insert(0, "group", scores.groupby(["method", "image"], sort=True)["group"].first())
    means["objective"] = means[list(objective)].mean(axis="columns")
    images = set(scores["image"])
    for method, of_method in means.groupby(level="method"):
        missing = sorted(images - set(of_method.index.get_level_values("image")))
        if missing:
            raise VesselrlError(
                f"Method ‘{method}’ has no scores for {len(missing)} of {len(images)} images "
                f"({', '.join(map(str, missing[:3]))}, …); methods are compared on the same images "
                "only. Run: kedro run --pipeline evaluation"
            )
    return means


def smallest_p(groups: int) -> float:
    """The smallest two-sided p-value so many groups allow, all of one sign: ``2 · 2^(−groups)``."""
    return float(2.0 ** (1 - groups))


def _paired(
    differences: npt.NDArray[np.float64], groups: npt.NDArray[Any], resampling: dict[str, Any]
) -> PairedDifference:
    """The paired bootstrap with a p-value no smaller than so many groups allow.

    The bootstrap alone would call any difference significant that a handful of groups happen to
    share, even one group.
    """
    paired = paired_bootstrap(differences, groups, **resampling)
    return replace(paired, p_value=max(paired.p_value, smallest_p(len(set(groups)))))


def leaderboard(
    metrics_per_image: pd.DataFrame,
    methods: Mapping[str, Mapping[str, Any]],
    settings: ReportParameters,
    seed: int,
) -> pd.DataFrame:
    """One row a method, the highest objective first.

    Args:
        metrics_per_image: columns method, seed, image, group and ``SCORES``.
        methods: method → its settings, of which ``kind`` is read.
        settings: objective, targets, baseline and statistics.
        seed: of the resampling.

    Returns:
        Columns method, kind, deployable, images, groups, seeds; objective, dice and recall, each
        with ``_low`` and ``_high`` (confidence interval); dice_sd_over_seeds (NaN with one seed);
        the other scores (hd95 in pixels, seconds an image); difference (in Dice, to the baseline,
        paired), difference_low, difference_high, difference_p (Holm-corrected; NaN for the
        baseline), wins, ties, losses (images, against the baseline); targets_met.
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
            "deployable": methods.get(method, {}).get("kind") not in NOT_FOR_USE,
            "images": len(own),
            "groups": len(set(groups)),
            "seeds": len(per_seed),
        }
        for score in ("objective", "dice", "recall"):
            interval = group_bootstrap_mean(own[score].to_numpy(), groups, **resampling)
            row |= {score: interval.mean, f"{score}_low": interval.low}
            row[f"{score}_high"] = interval.high
        row["dice_sd_over_seeds"] = per_seed.std()
        row |= {score: own[score].mean() for score in SCORES if score not in row}
        difference = own["dice"].to_numpy() - baseline["dice"].to_numpy()
        paired = _paired(difference, groups, resampling)
        row |= {"difference": paired.mean, "difference_low": paired.low}
        row |= {"difference_high": paired.high, "difference_p": paired.p_value}
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


def verdict(
    metrics_per_image: pd.DataFrame, board: pd.DataFrame, settings: ReportParameters, seed: int
) -> dict[str, Any]:
    """Which method to use, by ``RULE``, and what the test images can and cannot show.

    Args:
        metrics_per_image: columns method, seed, image, group and ``SCORES``.
        board: the ``leaderboard`` of the same scores.
        settings: objective, targets, baseline and statistics.
        seed: of the resampling.

    Returns:
        JSON-like: recommended, best, sentence, rule, objective, baseline, images, groups;
        not_worse (methods); gain (difference, low, high, p: objective of the recommended minus the
        baseline's); compared_with_best (rows method, difference, low, high, p: objective of
        the best minus the method's); smallest_effect (median half-width of those intervals, None
        without rivals); targets (rows metric, target, mean, low, high, status);
        reinforcement_learning (ranking, best, rival, difference, low, high, p (Holm-corrected over
        all pairs of a policy and a method without), gain, sentence; None without such methods);
        room (what the oracle adds to the baseline's objective; None without an oracle);
        foretold (method, rival, gain, room: what the best regressor and what the oracle add to the
        best static setting's objective; None without the three).
    """
    scores = image_scores(metrics_per_image, settings.objective)
    groups = scores.loc[settings.baseline]["group"].to_numpy()
    rows = board.set_index("method").to_dict("index")
    candidates = board[board["deployable"]]
    resampling: dict[str, Any] = {
        "resamples": settings.bootstrap_resamples,
        "alpha": settings.alpha,
        "seed": seed,
    }

    def lead(method: str, over: str) -> dict[str, Any]:
        """By how much one method's objective exceeds another's."""
        gap = scores.loc[method]["objective"].to_numpy() - scores.loc[over]["objective"].to_numpy()
        paired = _paired(gap, groups, resampling)
        return {
            "difference": paired.mean,
            "low": paired.low,
            "high": paired.high,
            "p": paired.p_value,
        }

    if candidates.empty:
        raise VesselrlError(
            "None of evaluation.methods can be recommended: the report needs one beside random and "
            "oracle."
        )
    best = str(candidates["method"].iloc[0])
    compared = [{"method": str(m), **lead(best, m)} for m in candidates["method"].iloc[1:]]
    for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
        row["p"] = float(p)
    not_worse = [best, *(r["method"] for r in compared if r["p"] >= settings.alpha)]
    recommended = min(
        not_worse,
        key=lambda m: (
            _known_or_most(rows[m]["segmenter_calls"]),
            rows[m]["kind"] in TRAINED_POLICIES,
            -rows[m]["objective"],
        ),
    )
    result: dict[str, Any] = {
        "recommended": recommended,
        "best": best,
        "rule": RULE,
        "objective": list(settings.objective),
        "baseline": settings.baseline,
        "images": int(rows[best]["images"]),
        "groups": int(rows[best]["groups"]),
        "not_worse": not_worse,
        "compared_with_best": compared,
        "smallest_effect": (
            float(np.median([(row["high"] - row["low"]) / 2 for row in compared]))
            if compared
            else None
        ),
        "gain": lead(recommended, settings.baseline),
        "targets": _targets(scores.loc[recommended], groups, settings, resampling),
        "reinforcement_learning": None,
        "room": None,
    }
    learned = candidates.loc[candidates["kind"] == LEARNED_BY_RL, "method"].tolist()
    # How imported masks were made is unknown, so they are no rival without reinforcement learning.
    plain = candidates.loc[~candidates["kind"].isin((LEARNED_BY_RL, "imported")), "method"].tolist()
    if learned and plain:
        # Which policy and which rival are best was found here too: every pair counts.
        pairs = {(policy, rival): lead(policy, rival) for policy in learned for rival in plain}
        corrected = holm([pair["p"] for pair in pairs.values()])
        first = pairs[learned[0], plain[0]] | {"p": float(corrected[0])}
        result["reinforcement_learning"] = _learning_gain(learned, plain[0], first, settings.alpha)
    oracles = board.loc[board["kind"] == "oracle", "method"].tolist()
    if oracles:
        result["room"] = float(rows[oracles[0]]["objective"] - rows[settings.baseline]["objective"])
    result["foretold"] = _foretold(board)
    result["sentence"] = _sentence(result, rows, settings.alpha)
    return result


def _foretold(board: pd.DataFrame) -> dict[str, Any] | None:
    """How much of what a choice by image can win is learned from the image by plain regression."""
    first = board.drop_duplicates("kind").set_index("kind")
    if not {"regressor", "static", "oracle"} <= set(first.index):
        return None
    objective = first["objective"]
    return {
        "method": first.at["regressor", "method"],
        "rival": first.at["static", "method"],
        "gain": float(objective["regressor"] - objective["static"]),
        "room": float(objective["oracle"] - objective["static"]),
    }


def _targets(
    own: pd.DataFrame,
    groups: npt.NDArray[Any],
    settings: ReportParameters,
    resampling: dict[str, Any],
) -> list[dict[str, Any]]:
    """Whether the mean reaches each target, and whether the interval leaves that open."""
    rows = []
    for metric, target in settings.targets.items():
        interval = group_bootstrap_mean(own[metric].to_numpy(), groups, **resampling)
        status = "met" if interval.mean >= target else "not met"
        if interval.low < target <= interval.high:
            status += ", within chance"
        row = {"metric": metric, "target": target, "mean": interval.mean}
        rows.append(row | {"low": interval.low, "high": interval.high, "status": status})
    return rows


def _learning_gain(
    learned: list[str], rival: str, lead: dict[str, Any], alpha: float
) -> dict[str, Any]:
    """Whether the best policy beats the best method that needs no reinforcement learning."""
    gain = bool(lead["difference"] > 0 and lead["p"] < alpha)
    measured = (
        f"{points(lead['difference'])} against ‘{rival}’ "
        f"({_interval(lead, alpha)}, {p_of(lead['p'])})"
    )
    sentence = (
        f"Reinforcement learning brings a gain: ‘{learned[0]}’ reaches {measured}, the best method "
        "without it."
        if gain
        else f"No gain from reinforcement learning: its best policy, ‘{learned[0]}’, reaches "
        f"{measured}, the best method without it."
    )
    return {"ranking": learned, "best": learned[0], "rival": rival, **lead} | {
        "gain": gain,
        "sentence": sentence,
    }


def _sentence(result: dict[str, Any], rows: Mapping[Hashable, Any], alpha: float) -> str:
    """The verdict in words."""
    chosen, best, baseline = result["recommended"], result["best"], result["baseline"]
    own = rows[chosen]
    scored = f"mean Dice {own['dice']:.3f}, recall {own['recall']:.3f}"
    on = f"{counted(result['images'], 'test image')} of {counted(result['groups'], 'group')}"
    gap = None if chosen == best else _row_of(result, chosen)
    if chosen == baseline and gap and gap["difference"] > TIE:
        return (
            f"Stay with ‘{chosen}’ ({scored} on {on}): the best method, ‘{best}’, scores only "
            f"{_higher(gap)}."
        )
    if chosen == baseline:
        return f"Stay with ‘{chosen}’ ({scored} on {on}): no other method scores higher."
    of_baseline = rows[baseline]
    lead = result["gain"]
    gain = f"{points(lead['difference'])} ({_interval(lead, alpha)})"
    sentence = (
        f"Use ‘{chosen}’ ({scored} on {on}): {gain} in the {objective_name(result['objective'])} "
        f"against ‘{baseline}’ (Dice {of_baseline['dice']:.3f}, recall {of_baseline['recall']:.3f})"
    )
    if gap is None or gap["difference"] <= TIE:
        return f"{sentence}, and no other method scores higher."
    calls, of_best = own["segmenter_calls"], rows[best]["segmenter_calls"]
    price = (
        "what it costs is unknown"
        if np.isnan(of_best)
        else "needs a trained policy"
        if of_best == calls
        else f"costs more ({of_best:.2g} segmenter calls an image against {calls:.2g})"
    )
    return f"{sentence}. ‘{best}’ scores {_higher(gap)}, and {price}."


def _known_or_most(calls: float) -> float:
    """A method of unknown cost is never the cheapest of several."""
    return float("inf") if np.isnan(calls) else calls


def _row_of(result: dict[str, Any], method: str) -> dict[str, Any]:
    row: dict[str, Any] = next(r for r in result["compared_with_best"] if r["method"] == method)
    return row


def _higher(gap: dict[str, Any]) -> str:
    return (
        f"{100 * gap['difference']:.1f} points higher in the objective, which chance could explain "
        f"({p_of(gap['p'])})"
    )


def points(difference: float) -> str:
    """A difference of scores in hundredths, with its sign: 0.0123 → ``+1.2 points``."""
    return f"{100 * difference:+.1f} points".replace("-", "−")


def _interval(lead: dict[str, Any], alpha: float) -> str:
    text = f"{100 * (1 - alpha):g} % CI {100 * lead['low']:.1f} to {100 * lead['high']:.1f}"
    return text.replace("-", "−")
