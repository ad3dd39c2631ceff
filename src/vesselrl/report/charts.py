"""Charts of the comparison: scores and intervals, paired differences, quality against cost."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vesselrl.report.comparison import image_scores
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.words import SCORE_NAMES, objective_name, significant
from vesselrl.style import BLUE, FAINT, GREY, INK, ORANGE, RC, SKY, VERMILLION

UNKNOWN = "unknown"
"""What is written under the column of methods of unknown cost."""


def draw_leaderboard(board: pd.DataFrame, recommended: str, settings: ReportParameters) -> Figure:
    """Mean Dice and recall of each method with confidence intervals, the best on top.

    Args:
        board: the leaderboard.
        recommended: the method to stand out.
        settings: targets, drawn as dashed lines.
    """
    with rc_context(RC):
        figure = Figure(figsize=(8.4, 1.3 + 0.36 * len(board)))
        axes = figure.subplots(1, 2, sharey=True)
        rows = board.iloc[::-1].to_dict("records")
        for ax, score in zip(axes, ("dice", "recall"), strict=True):
            for height, row in enumerate(rows):
                colour = (
                    BLUE if row["method"] == recommended else INK if row["deployable"] else GREY
                )
                ax.plot(
                    [row[f"{score}_low"], row[f"{score}_high"]],
                    [height, height],
                    color=colour,
                    lw=2,
                )
                ax.plot(
                    row[score], height, "o", ms=7, color=colour,
                    mfc=colour if row["deployable"] else "white",
                )  # fmt: skip
            if score in settings.targets:
                target = settings.targets[score]
                ax.axvline(target, color=VERMILLION, ls=(0, (4, 3)), lw=1.2)
                ax.text(
                    target, len(board) - 0.45, f"target {target:g}",
                    color=VERMILLION, ha="center", va="bottom", fontsize=8,
                )  # fmt: skip
            ax.set_xlabel(SCORE_NAMES[score])
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.grid(axis="x")
            ax.tick_params(left=False)
            ax.spines["left"].set_visible(False)
        axes[0].set_yticks(range(len(rows)), [row["method"] for row in rows])
        axes[0].set_ylim(-0.6, len(rows) - 0.4)
        for label, row in zip(axes[0].get_yticklabels(), rows, strict=True):
            if row["method"] == recommended:
                label.set(color=BLUE, fontweight="bold")
    return figure


def draw_paired_differences(
    metrics_per_image: pd.DataFrame,
    board: pd.DataFrame,
    recommended: str,
    settings: ReportParameters,
) -> Figure:
    """Dice of each method minus the baseline's: a dot an image, the mean with its interval.

    Args:
        metrics_per_image: columns method, seed, image, group and scores.
        board: the leaderboard, which gives order and intervals.
        recommended: the method to stand out.
        settings: objective and baseline.
    """
    scores = image_scores(metrics_per_image, settings.objective)["dice"]
    others = board[board["method"] != settings.baseline].iloc[::-1].to_dict("records")
    with rc_context(RC):
        figure = Figure(figsize=(8.4, 1.3 + 0.42 * max(len(others), 1)))
        ax = figure.subplots()
        ax.axvline(0, color=GREY, lw=1)
        for height, row in enumerate(others):
            difference = 100 * (scores[row["method"]] - scores[settings.baseline]).to_numpy()
            colour = BLUE if row["method"] == recommended else INK
            # Spread by rank, not by chance: the same data give the same picture.
            spread = 0.28 * (np.argsort(np.argsort(difference)) % 5 - 2) / 2
            ax.plot(
                difference,
                height + spread,
                "o",
                ms=4,
                color=colour,
                alpha=0.45,
                mew=0,
                clip_on=False,
            )
            limits = [100 * row["difference_low"], 100 * row["difference_high"]]
            ax.plot(limits, [height, height], color=ORANGE, lw=3, solid_capstyle="butt")
            ax.plot(100 * row["difference"], height, "D", ms=6, color=ORANGE, mec=INK, mew=0.8)
        ax.set_yticks(range(len(others)), [row["method"] for row in others])
        ax.set_ylim(-0.6, max(len(others), 1) - 0.4)
        ax.set_xlabel(f"Dice minus that of ‘{settings.baseline}’, in points (right: better)")
        ax.grid(axis="x")
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
    return figure


def draw_cost(board: pd.DataFrame, recommended: str, settings: ReportParameters) -> Figure:
    """Objective against segmenter calls an image; the line is what is best at each cost or below.

    Every number of calls has a column of its own, at the same distance from the next, so that names
    have room; methods whose calls are unknown stand apart in the last one, beyond the line.

    Args:
        board: the leaderboard.
        recommended: the method to stand out.
        settings: the objective.
    """
    calls = board["segmenter_calls"]
    known = sorted(calls.dropna().unique())
    columns = [significant(number) for number in known] + [UNKNOWN] * bool(calls.isna().any())
    places = calls.map({number: place for place, number in enumerate(known)}).fillna(len(known))
    rows = board.assign(place=places).sort_values(["place", "objective"], ascending=[True, False])
    front = rows[rows["deployable"] & rows["segmenter_calls"].notna()]
    front = front[front["objective"] > front["objective"].cummax().shift(fill_value=-1)]
    with rc_context(RC):
        figure = Figure(figsize=(8.4, 3.9))
        ax = figure.subplots()
        for row in rows.to_dict("records"):
            chosen = row["method"] == recommended
            colour = BLUE if chosen else INK if row["deployable"] else GREY
            ax.plot(
                row["place"], row["objective"], "o", ms=9 if chosen else 7, color=colour,
                mfc=colour if row["deployable"] else "white", zorder=4,
            )  # fmt: skip
        ax.margins(y=0.12)
        ax.set_xlim(-0.5, len(columns) - 0.3)
        for (_, side), group in rows.groupby(["place", "deployable"]):
            _label_without_overlap(ax, group, recommended, right=bool(side))
        dear = len(known) - 0.4  # the last of the front stays unbeaten at any higher cost
        if UNKNOWN in columns:
            ax.axvspan(dear, len(columns) - 0.3, color=FAINT, alpha=0.5, lw=0, zorder=0)
        ax.step(
            [*front["place"], dear], [*front["objective"], front["objective"].max()],
            where="post", color=SKY, lw=2.5, zorder=1, label="nothing better at this cost",
        )  # fmt: skip
        figure.legend(loc="outside upper right")
        ax.set_xticks(range(len(columns)), columns)
        ax.set_xlabel("Segmenter calls an image (not to scale)")
        ax.set_ylabel(f"Objective: {objective_name(settings.objective)}")
        ax.grid(axis="y")
    return figure


def _label_without_overlap(ax: Axes, group: pd.DataFrame, recommended: str, right: bool) -> None:
    """Name the points above one cost, pushed apart where they crowd."""
    low, high = ax.get_ylim()
    step, aside = (high - low) * 0.062, np.ptp(ax.get_xlim()) * 0.018
    rows = group.sort_values("objective").to_dict("records")
    places: list[float] = []
    for row in rows:
        places.append(max([row["objective"], *(place + step for place in places[-1:])]))
    shift = (sum(places) - group["objective"].sum()) / len(places)  # centred on the points
    for row, place in zip(rows, places, strict=True):
        chosen = row["method"] == recommended
        ax.annotate(
            row["method"], (row["place"], row["objective"]),
            xytext=(row["place"] + (aside if right else -aside), place - shift), textcoords="data",
            va="center", ha="left" if right else "right", fontsize=8.5,
            color=BLUE if chosen else INK, fontweight="bold" if chosen else "normal",
            arrowprops={"arrowstyle": "-", "color": FAINT, "shrinkB": 5},
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
