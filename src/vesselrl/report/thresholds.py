"""Scores of a prompt's map over all thresholds, beside the points where the methods stand."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesselrl.metrics.cuts import CUTS, scores_over_cuts
from vesselrl.style import BLUE, FAINT, GREY, INK, ORANGE, RC

LOOKS = ((BLUE, "-"), (ORANGE, "--"))
SCORES = ("dice", "recall", "precision")


def threshold_curves(
    images: Iterable[str],
    candidates: Mapping[str, Callable[[], Mapping[str, Any]]],
    masks: Mapping[str, Callable[[], npt.NDArray[np.bool_]]],
    prompts: Mapping[str, int],
) -> pd.DataFrame:
    """Mean scores over images of some prompts at every threshold.

    Args:
        images: ids.
        candidates: id → loader of the stored maps, of which ``levels`` is read.
        masks: id → loader of the truth.
        prompts: prompt → its position among the maps.

    Returns:
        Columns prompt, threshold, dice, recall, precision.
    """
    sums = {prompt: np.zeros((len(SCORES), len(CUTS))) for prompt in prompts}
    count = 0
    for image in images:
        levels, truth = candidates[image]()["levels"], masks[image]()
        count += 1
        for prompt, position in prompts.items():
            scores = scores_over_cuts(levels[position], truth)
            sums[prompt] += [scores[name] for name in SCORES]
    parts = [
        pd.DataFrame({"prompt": prompt, "threshold": CUTS})
        .join(pd.DataFrame((total / max(count, 1)).T, columns=list(SCORES)))
        for prompt, total in sums.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def draw_thresholds(curves: pd.DataFrame, board: pd.DataFrame, recommended: str) -> Figure:
    """Dice and recall over thresholds; recall against precision with every method's point.

    Args:
        curves: columns prompt, threshold, dice, recall, precision; two prompts at most.
        board: the leaderboard.
        recommended: the method to stand out.
    """
    with rc_context(RC):
        figure = Figure(figsize=(11, 4.6))
        over, against = figure.subplots(1, 2)
        for (prompt, of_prompt), (colour, dashes) in zip(
            curves.groupby("prompt", sort=False), LOOKS, strict=False
        ):
            look: dict[str, Any] = {"color": colour, "ls": dashes}
            over.plot(of_prompt["threshold"], of_prompt["dice"], lw=2.2, **look)
            over.plot(of_prompt["threshold"], of_prompt["recall"], lw=1, **look)
            best = of_prompt.nlargest(1, "dice")
            over.plot(best["threshold"], best["dice"], "v", ms=7, color=colour, mec=INK, zorder=3)
            against.plot(
                of_prompt["recall"], of_prompt["precision"], lw=1.8, label=str(prompt), **look
            )
        over.axvline(0.5, color=GREY, ls=":", lw=1.2)
        for label, width in (("Dice (the best marked)", 2.2), ("recall", 1)):
            over.plot([], [], color=INK, lw=width, label=label)
        over.set(xlabel="Threshold of the map", xlim=(0, 1), ylim=(0, 1))
        over.legend(
            loc="lower left", frameon=True, facecolor="white", edgecolor="white", framealpha=1
        )
        over.grid()
        _mark_methods(against, board, recommended)
        against.set(xlabel="Recall", ylabel="Precision")
        against.grid()
        figure.legend(loc="outside right center", handles=against.get_legend_handles_labels()[0])
    return figure


def _mark_methods(ax: Axes, board: pd.DataFrame, recommended: str) -> None:
    """A numbered disc a method, and a frame around them all."""
    for number, row in enumerate(board.to_dict("records"), 1):
        chosen, usable = row["method"] == recommended, row["deployable"]
        colour = BLUE if chosen else INK if usable else GREY
        ax.plot(
            row["recall"], row["precision"], "o", ms=12, color=colour, alpha=0.85,
            mfc=colour if usable else "white", label="_", zorder=3 + usable,
        )  # fmt: skip
        ax.text(
            row["recall"], row["precision"], str(number), ha="center", va="center_baseline",
            fontsize=7.5, color="white" if usable else INK, zorder=5,
        )  # fmt: skip
        ax.plot(
            [], [], marker=f"${number}$", ms=6 if number < 10 else 9, color=colour, ls="none",
            label=str(row["method"]),
        )  # fmt: skip
    margin = 0.06
    for column, set_limits in (("recall", ax.set_xlim), ("precision", ax.set_ylim)):
        values = board[column]
        set_limits(max(values.min() - margin, -0.02), min(values.max() + margin, 1.02))
    ax.tick_params(color=FAINT)
