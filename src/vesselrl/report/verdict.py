"""From the leaderboard to a verdict: which method to use, and what the test images can show."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vesselrl.errors import VesselrlError
from vesselrl.metrics.statistics import (
    detectable_difference,
    group_bootstrap_mean,
    holm,
    paired_difference,
)
from vesselrl.report.comparison import TIE, image_scores, suspicions
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.words import counted, objective_name, p_of, score_names

NETWORK_NEEDED = ("policy", "regressor", "best_of_one", "best_of_n", "posterior", "network")
"""Kinds that do not run without a trained policy or network."""
POWER = 0.8
"""A difference counts as detectable if it would be found with this probability (Cohen, 1988)."""
WORTH_A_COST = 0.01
"""An objective higher by more than this is worth any cost where no test can decide; `RULE` and
`vesselrl.report.limits` say it in words."""
RULE = (
    "Among the methods whose Dice is not significantly below that of settings drawn at random "
    "(whoever marks everything has a recall of 1), that are not significantly worse than the best"
    " of these (sign-flip test over groups, Holm-corrected), and that are significantly better "
    "than the baseline or no lower than it in any score of the objective (where none is, among "
    "those not significantly worse than the best) and, where groups are too few for any difference "
    "to be significant, within one point of the highest objective of those that need no more "
    "training, the cheapest to deploy:"
    " fewest segmenter calls an image (unknown ones count as more than any), then without a "
    "trained policy or network, then fewest passes through networks trained here, then the "
    "highest objective."
)


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
        below_random (methods that the rule leaves out for their Dice); not_worse (methods);
        warnings (method → sentence, see `suspicions`);
        compared_with_best (a row for each other method: method, difference in the objective, best
        minus method, low, high, p (Holm-corrected), effect_size (rank-biserial), detectable (the
        smallest true difference that would be found with probability `POWER` at the strictest of
        Holm's levels, None where none could)); smallest_effect (the median of what is detectable,
        None without rivals or where nothing is);
        gain (the same, recommended minus baseline, p as it is); targets (rows metric, target, mean,
        low, high, status);
        reinforcement_learning (ranking, best, rival, the same for best minus rival, p
        Holm-corrected over all pairs of a policy and a method without, gain, sentence; None without
        such methods);
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
    strictest = settings.alpha / max(len(candidates) - 1, 1)

    def lead(method: str, over: str, score: str = "objective") -> dict[str, Any]:
        """By how much one method's score exceeds another's."""
        gap = scores.loc[method][score].to_numpy() - scores.loc[over][score].to_numpy()
        paired = paired_difference(gap, groups, **resampling)
        return {
            "difference": paired.mean,
            "low": paired.low,
            "high": paired.high,
            "p": paired.p_value,
            "effect_size": paired.effect_size,
            "detectable": _finite(
                detectable_difference(
                    paired.standard_error,
                    len(set(groups)),
                    strictest,
                    POWER,
                    settings.bootstrap_resamples,
                )
            ),
        }

    if candidates.empty:
        raise VesselrlError(
            "None of evaluation.methods can be recommended: the report needs one beside random and "
            "oracle."
        )
    names = [str(method) for method in candidates["method"]]
    # Where vessels are hardly found, to mark everything has the highest mean of Dice and recall,
    # above one half. Dice alone has no such way out.
    drawn = board.loc[board["kind"] == "random", "method"].tolist()[:1]
    ahead = {m: lead(control, m, "dice") for control in drawn for m in names}
    below_random = _positive(ahead, settings.alpha)
    fit = [method for method in names if method not in below_random] or names
    best = fit[0]
    compared = [{"method": m, **lead(best, m)} for m in names if m != best]
    for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
        row["p"] = float(p)
    near = {row["method"] for row in compared if row["p"] >= settings.alpha}
    not_worse = [best, *(method for method in fit if method in near)]
    leads = {method: lead(method, settings.baseline) for method in names}
    offered = _offered(not_worse, leads, rows, settings)
    eligible = offered or not_worse  # a baseline that is not for use may score higher than all
    smallest_effect = _median([row["detectable"] for row in compared])
    if smallest_effect is None:
        # Where nobody could show it to be worse, it is not shown to be as good.
        eligible = _without_clear_losses(eligible, rows)
    recommended: Any = min(
        eligible,
        key=lambda m: (
            _known_or_most(rows[m]["segmenter_calls"]),
            rows[m]["kind"] in NETWORK_NEEDED,
            rows[m]["network_passes"],
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
        "below_random": below_random,
        "not_worse": not_worse,
        "compared_with_best": compared,
        "smallest_effect": smallest_effect,
        "warnings": suspicions(metrics_per_image),
        "gain": leads[recommended],
        "targets": _targets(scores.loc[recommended], groups, settings, resampling),
        "reinforcement_learning": None,
        "room": None,
    }
    learned = [m for m in fit if rows[m]["by_rl"]] or [m for m in names if rows[m]["by_rl"]]
    # How imported masks were made is unknown, so they are no rival without reinforcement learning.
    plain = [m for m in fit if not rows[m]["by_rl"] and rows[m]["kind"] != "imported"]
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
    passed_over = bool(offered) and best not in offered
    told = _sentence(result, rows, settings.alpha, passed_over)
    sentences = [told, result["warnings"].get(recommended)]
    result["sentence"] = " But ".join(filter(None, sentences))
    return result


def _positive(leads: Mapping[str, Mapping[str, Any]], alpha: float) -> list[str]:
    """The names of the leads that are significantly above 0, Holm-corrected."""
    corrected = holm([lead["p"] for lead in leads.values()])
    return [
        name
        for (name, lead), p in zip(leads.items(), corrected, strict=True)
        if p < alpha and lead["difference"] > 0
    ]


def _offered(
    not_worse: list[str],
    leads: Mapping[str, Mapping[str, Any]],
    rows: Mapping[Hashable, Any],
    settings: ReportParameters,
) -> list[str]:
    """Of the methods not shown to be worse than the best, those a user loses nothing by.

    Where groups are few, chance could explain much: what is not shown to be better than the
    baseline is then no reason to give up any of its scores.
    """
    others = {method: lead for method, lead in leads.items() if method != settings.baseline}
    better = _positive(others, settings.alpha)
    free = rows[settings.baseline]

    def gives_nothing_up(method: str) -> bool:
        return all(rows[method][score] >= free[score] for score in settings.objective)

    return [method for method in not_worse if method in better or gives_nothing_up(method)]


def _without_clear_losses(methods: list[str], rows: Mapping[Hashable, Any]) -> list[str]:
    """The methods that score about as well as any of these that needs no more training."""

    def least(method: str) -> float:
        trained = rows[method]["kind"] in NETWORK_NEEDED
        rivals = [m for m in methods if trained or rows[m]["kind"] not in NETWORK_NEEDED]
        return float(max(rows[m]["objective"] for m in rivals) - WORTH_A_COST)

    return [method for method in methods if rows[method]["objective"] >= least(method)]


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if np.isfinite(value) else None


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


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
        else "No gain from reinforcement learning is shown: its best policy, "
        f"‘{learned[0]}’, reaches {measured}, the best method without it."
    )
    return {"ranking": learned, "best": learned[0], "rival": rival, **lead} | {
        "gain": gain,
        "sentence": sentence,
    }


def _sentence(
    result: dict[str, Any], rows: Mapping[Hashable, Any], alpha: float, passed_over: bool
) -> str:
    """The verdict in words; ``passed_over``: the best is not among what is `_offered`."""
    chosen, best, baseline = result["recommended"], result["best"], result["baseline"]
    own = rows[chosen]
    scored = f"mean Dice {own['dice']:.3f}, recall {own['recall']:.3f}"
    on = f"{counted(result['images'], 'test image')} of {counted(result['groups'], 'group')}"
    gap = None if chosen == best else _row_of(result, chosen)
    of_baseline = rows[baseline]
    lower = [score for score in result["objective"] if rows[best][score] < of_baseline[score]]
    given_up = f"is lower than ‘{baseline}’ in {score_names(lower)}" if passed_over else ""
    if chosen == baseline and gap and gap["difference"] > TIE:
        return f"Stay with ‘{chosen}’ ({scored} on {on}): the best method, ‘{best}’, scores " + (
            f"{_higher(gap)}, and {given_up}." if passed_over else f"only {_higher(gap)}."
        )
    if chosen == baseline:
        return (
            f"Stay with ‘{chosen}’ ({scored} on {on}): no other method that qualifies scores "
            "higher."
        )
    lead = result["gain"]
    gain = f"{points(lead['difference'])} ({_interval(lead, alpha)})"
    sentence = (
        f"Use ‘{chosen}’ ({scored} on {on}): {gain} in the {objective_name(result['objective'])} "
        f"against ‘{baseline}’ (Dice {of_baseline['dice']:.3f}, recall {of_baseline['recall']:.3f})"
    )
    if gap is None or gap["difference"] <= TIE:
        return f"{sentence}, and no other method that qualifies scores higher."
    calls, of_best = own["segmenter_calls"], rows[best]["segmenter_calls"]
    passes, more_passes = own["network_passes"], rows[best]["network_passes"]
    price = given_up or (
        "what it costs is unknown"
        if np.isnan(of_best)
        else f"takes {more_passes:.0f} passes through networks trained here instead of {passes:.0f}"
        if of_best == calls and more_passes > passes > 0
        else "needs a trained policy or network"
        if of_best == calls
        else f"costs more (segmenter calls an image: {of_best:.2g} against {calls:.2g})"
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
