"""The report card as a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from vesselrl.metrics.masks import Scores
from vesselrl.report.words import counted, decimal
from vesselrl.reward.names import NETWORK, rival_name
from vesselrl.reward.report_card import (
    RIVAL,
    ImageScores,
    Loaders,
    in_equal_steps,
    within_image_tau,
)
from vesselrl.style import BLUE, FAINT, GREY, INK, ORANGE, RC

SPLITS = {"val": "validation", "test": "test"}
HEIGHTS = (3.4, 3.1, 2.7)
"""Of the three rows, in inches."""
DENSITY = LinearSegmentedColormap.from_list("density", ["#dceaf5", BLUE, INK])
DRAWN = 500
"""Images of a split: more could not be told apart, and all of them are in memory."""
BINS = 10
STAGES = {
    "raw_dice": ("raw", "mae_raw", ORANGE),
    "predicted_dice": ("calibrated", "mae", BLUE),
}
"""Scores → what they are, their error in the report card, their colour."""


def draw_report_card(
    images: Mapping[str, Loaders], card: Mapping[str, Any], history: pd.DataFrame
) -> Figure:
    """Is the prediction true, does it order the masks of one image, what would it choose?

    Args:
        images: ``val`` and ``test``, each the scores of each image, as
            `vesselrl.rl.setting_scores.ReportCardScores` gives them; there may be none. Of
            more than `DRAWN` only so many or fewer are drawn, in equal steps.
        card: the report card of these scores, of all images: ``val``, ``test`` and ``rivals``.
        history: columns member, iteration, loss, tau.
    """
    scores = {
        split: [load() for load in in_equal_steps(loaders, DRAWN)]
        for split, loaders in images.items()
    }
    with rc_context(RC):
        figure = Figure(figsize=(11, sum(HEIGHTS)))
        rows: Any = figure.subfigures(3, 1, height_ratios=HEIGHTS)
        top, middle, bottom = rows
        *agreement, calibration = top.subplots(1, 3)
        for ax, split in zip(agreement, SPLITS, strict=True):
            _draw_agreement(ax, scores[split], split, card)
        _draw_reliability(calibration, scores, card)
        layout = [["val", "test", "tau"], ["val", "test", "loss"]]
        axes = middle.subplot_mosaic(layout, width_ratios=(1, 1, 0.9))
        for split in SPLITS:
            _draw_order(axes[split], scores[split], split, card)
        axes["test"].tick_params(labelleft=False)
        _draw_history(axes["tau"], history, "tau", "Kendall's τ")
        _draw_history(axes["loss"], history, "loss", "Loss")
        axes["tau"].set_title("Training, a line a member")
        axes["tau"].tick_params(labelbottom=False)
        axes["loss"].set_xlabel("Iteration")
        _draw_choices(bottom.subplots(), scores, card)
    return figure


def reliability(predicted: Scores, true: Scores) -> npt.NDArray[np.float64]:
    """Is the mean of what is predicted the mean of what is true?

    Args:
        predicted: float64 (N,); what lies outside [0, 1] counts to the outermost bins.
        true: float64 (N,).

    Returns:
        float64 (B, 3): of each of ten equal bins of the prediction that is not empty the mean
        prediction, the mean truth, and its share of all N.
    """
    which = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    return np.array(
        [
            (predicted[which == b].mean(), true[which == b].mean(), np.mean(which == b))
            for b in np.unique(which)
        ]
    )


def _all_masks(images: Sequence[ImageScores], *keys: str) -> tuple[Scores, ...]:
    return tuple(np.concatenate([image[key] for image in images]) for key in keys)


def _say_there_are_none(ax: Axes, split: str) -> None:
    ax.set_axis_off()
    text = f"no {SPLITS[split]} images"
    ax.text(0.5, 0.5, text, ha="center", color=GREY, transform=ax.transAxes)


def _draw_agreement(
    ax: Axes, images: Sequence[ImageScores], split: str, card: Mapping[str, Any]
) -> None:
    """Predicted against true Dice of all masks: the darker, the more masks."""
    ax.set_title(f"Dice, {SPLITS[split]} patients")
    if not images:
        _say_there_are_none(ax, split)
        return
    predicted, true = _all_masks(images, "predicted_dice", "true_dice")
    ax.plot([0, 1], [0, 1], color=ORANGE, lw=1.2)
    ax.hexbin(
        predicted, true, gridsize=44, extent=(0, 1, 0, 1), mincnt=1, cmap=DENSITY, norm=LogNorm(),
        linewidths=0.2,
    )  # fmt: skip
    numbers = card[split]
    count = numbers["n_images"]
    facts = (
        f"r = {numbers['pooled_r']:.2f}\nmean error {numbers['mae']:.3f}\n"
        f"{counted(count * len(images[0]['true_dice']), 'mask')},\n{counted(count, 'image')}"
    )
    if len(images) < count:
        facts += f",\n{len(images)} drawn"
    behind = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
    ax.text(0.97, 0.04, facts, ha="right", transform=ax.transAxes, fontsize=8.5, bbox=behind)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted", ylabel="true")
    ax.grid()


def _draw_reliability(
    ax: Axes, scores: Mapping[str, Sequence[ImageScores]], card: Mapping[str, Any]
) -> None:
    """Mean true Dice of masks that are predicted alike; points as large as their share of masks."""
    ax.set_title("Reliability")
    ax.plot([0, 1], [0, 1], color=GREY, lw=1)
    for key, (stage, error, colour) in STAGES.items():
        for split, dashes in zip(SPLITS, ((0, (2, 1.5)), "-"), strict=True):
            if not scores[split]:
                continue
            x, y, share = reliability(*_all_masks(scores[split], key, "true_dice")).T
            label = f"{stage}, {SPLITS[split]}: {card[split][error]:.3f}"
            filled = colour if split == "test" else "white"
            ax.plot(x, y, ls=dashes, lw=1.4, color=colour, zorder=2)
            ax.scatter(x, y, 12 + 150 * share, filled, edgecolors=colour, lw=1.3, zorder=3)
            ax.plot([], [], "o", ls=dashes, color=colour, mfc=filled, ms=5, label=label)
    legend = ax.legend(loc="lower right", fontsize=8, title="mean error", borderaxespad=0.1)
    legend.get_title().set_fontsize(8)
    ax.set(
        xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted", ylabel="true, mean of a tenth"
    )
    ax.grid()


def _judges(card: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Key of the scores → name and card, the network first, then its rivals, the best first."""
    rivals = sorted(card["rivals"].items(), key=lambda rival: -rival[1]["val"]["within_image_tau"])
    return {
        "raw_dice": (NETWORK, card),
        **{RIVAL + rival: (rival_name(rival), of_rival) for rival, of_rival in rivals},
    }


def _draw_order(
    ax: Axes,
    images: Sequence[ImageScores],
    split: str,
    card: Mapping[str, Any],
) -> None:
    """Kendall's tau of every image, and its mean, for the network and for its rivals."""
    ax.set_title(f"Order of masks, {SPLITS[split]}")
    if not images:
        _say_there_are_none(ax, split)
        return
    ordered = [image for image in images if np.ptp(image["true_dice"]) > 0]
    judges = _judges(card)
    for row, (key, (_, numbers)) in enumerate(judges.items()):
        colour = GREY if row else BLUE
        taus = np.array([within_image_tau([(i[key], i["true_dice"])]) for i in ordered])
        # Spread by rank, not by chance: the same data give the same picture.
        height = row + 0.26 * (np.argsort(np.argsort(taus)) % 5 - 2) / 2
        ax.plot(taus, height, "o", ms=3.5, color=colour, alpha=0.4, mew=0)
        mean = numbers[split]["within_image_tau"]
        ax.plot([mean, mean], [row - 0.36, row + 0.36], color=colour, lw=2.5)
        ax.text(
            1.02, row, decimal(mean, 2), va="center", color=INK if row else BLUE,
            fontweight="normal" if row else "bold", transform=ax.get_yaxis_transform(),
        )  # fmt: skip
    ax.axvline(0, color=GREY, lw=1, zorder=0)
    ax.set_yticks(range(len(judges)), [name for name, _ in judges.values()])
    ax.set(xlim=(-1, 1), ylim=(len(judges) - 0.4, -0.6), xlabel="Kendall's τ within an image")
    ax.tick_params(left=False)
    ax.grid(axis="x")


def _draw_choices(
    ax: Axes, scores: Mapping[str, Sequence[ImageScores]], card: Mapping[str, Any]
) -> None:
    """Of each image the range of the masks on offer and the one that is predicted best."""
    start = 0
    for split, name in SPLITS.items():
        images = sorted(scores[split], key=lambda image: float(image["true_dice"].max()))
        if not images:
            continue
        places = np.arange(start, start + len(images))
        true = np.stack([image["true_dice"] for image in images])
        chosen = [image["true_dice"][image["raw_dice"].argmax()] for image in images]
        low, middle, high = true.min(1), np.median(true, axis=1), true.max(1)
        ax.vlines(places, low, high, color=FAINT, lw=4)
        ax.plot(places, middle, "_", ms=7, mew=1.5, color=GREY)
        ax.plot(places, high, "_", ms=7, mew=1.5, color=ORANGE)
        ax.plot(places, chosen, "o", ms=5, color=BLUE, mew=0)
        note = f"{name}: {card[split]['top1_regret']:.3f} below the best"
        ax.text(start, 1.02, note, fontsize=8, transform=ax.get_xaxis_transform())
        start += len(images) + 1
    for label, marker, colour in (
        ("best", "_", ORANGE),
        ("rated best", "o", BLUE),
        ("median", "_", GREY),
    ):
        ax.plot([], [], marker, color=colour, mew=1.5, label=label)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1.08), ncols=3, fontsize=8, borderaxespad=0)
    ax.set(xlabel="image, by the best mask on offer", ylabel="true Dice", xticks=[])
    ax.set_title("The mask it rates best among all that could be chosen", pad=20)
    ax.grid(axis="y")


def _draw_history(ax: Axes, history: pd.DataFrame, column: str, label: str) -> None:
    for _, member in history.groupby("member"):
        ax.plot(member["iteration"], member[column], "o-", ms=3, lw=1.3, color=BLUE, alpha=0.7)
    ax.set_ylabel(label)
    ax.grid()
