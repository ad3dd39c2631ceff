"""The report card as a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from vesselrl.report.style import BLUE, FAINT, GREY, INK, ORANGE, RC
from vesselrl.reward.report_card import ImageScores, report_card, within_image_tau

NAMES = {"val": "validation", "test": "test"}
JUDGES = {
    "predicted_raw": ("reward network", BLUE),
    "confidence": ("segmenter itself", GREY),
}
LAYOUT = """
    vvttoo
    vvttoo
    cccc11
    cccc22
"""
DENSITY = LinearSegmentedColormap.from_list("density", ["#dceaf5", BLUE, INK])


def draw_report_card(scores: Mapping[str, Sequence[ImageScores]], history: pd.DataFrame) -> Figure:
    """Is the prediction true, does it order the masks of one image, what would it choose?

    Args:
        scores: ``val`` and ``test``, each a list of the scores of an image, as
            `vesselrl.rl.scenes.score_settings` gives them; a list may be empty.
        history: columns member, iteration, loss, tau.
    """
    with rc_context(RC):
        figure = Figure(figsize=(10.5, 7.2))
        axes = figure.subplot_mosaic(LAYOUT)
        for ax, (split, name) in zip((axes["v"], axes["t"]), NAMES.items(), strict=True):
            _draw_agreement(ax, scores[split], name)
        _draw_ordering(axes["o"], scores)
        _draw_choices(axes["c"], scores)
        _draw_history(axes["1"], history, "tau", "Kendall's τ")
        _draw_history(axes["2"], history, "loss", "Loss")
        axes["1"].set_title("Training, a line a member")
        axes["1"].tick_params(labelbottom=False)
        axes["2"].set_xlabel("Iteration")
    return figure


def _draw_agreement(ax: Axes, images: Sequence[ImageScores], name: str) -> None:
    """Predicted against true Dice of all masks: the darker, the more masks."""
    ax.set_title(f"Dice, {name} patients")
    if not images:
        ax.set_axis_off()
        ax.text(0.5, 0.5, f"no {name} images", ha="center", color=GREY, transform=ax.transAxes)
        return
    predicted, true = (
        np.concatenate([image[key] for image in images]) for key in ("predicted_dice", "true_dice")
    )
    ax.plot([0, 1], [0, 1], color=ORANGE, lw=1.2)
    ax.hexbin(
        predicted, true, gridsize=44, extent=(0, 1, 0, 1), mincnt=1, cmap=DENSITY, norm=LogNorm(),
        linewidths=0.2,
    )  # fmt: skip
    card = report_card(images)
    facts = f"r = {card['pooled_r']:.2f}\nmean error {card['mae']:.3f}\n{len(true):,} masks"
    ax.text(0.04, 0.96, facts, va="top", transform=ax.transAxes, fontsize=8.5)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted", ylabel="true")
    ax.grid()


def _draw_ordering(ax: Axes, scores: Mapping[str, Sequence[ImageScores]]) -> None:
    """Kendall's tau of every image, by the reward network and by the segmenter's own confidence."""
    ax.set_title("Order of the masks of one image")
    for place, split in enumerate(NAMES):
        for shift, (judge, (_, colour)) in zip((-0.2, 0.2), JUDGES.items(), strict=True):
            taus = [within_image_tau([(i[judge], i["true_dice"])]) for i in scores[split]]
            centre = place + shift
            if not taus:
                continue
            # Spread by rank, not by chance: the same data give the same picture.
            across = centre + 0.11 * (np.argsort(np.argsort(taus)) % 5 - 2) / 2
            ax.plot(across, taus, "o", ms=4, color=colour, alpha=0.5, mew=0)
            mean = float(np.mean(taus))
            ax.plot([centre - 0.15, centre + 0.15], [mean, mean], color=colour, lw=2.5)
            ax.text(centre, 1.04, f"{mean:.2f}", ha="center", color=colour, fontweight="bold")
    ax.axhline(0, color=GREY, lw=1)
    for label, colour in JUDGES.values():
        ax.plot([], [], "o", color=colour, mew=0, label=label)
    ax.legend(loc="lower center", fontsize=8, ncols=2, columnspacing=0.8, handletextpad=0)
    ax.set_xticks(range(len(NAMES)), list(NAMES.values()))
    ax.tick_params(axis="x", length=0)
    ax.set(xlim=(-0.5, len(NAMES) - 0.5), ylim=(min(-0.5, ax.get_ylim()[0]) - 0.2, 1.15))
    ax.set_ylabel("Kendall's τ with the true Dice")
    ax.grid(axis="y")


def _draw_choices(ax: Axes, scores: Mapping[str, Sequence[ImageScores]]) -> None:
    """Of each image the range of the masks on offer and the one that is predicted best."""
    ax.set_title("The mask it rates best among all that could be chosen")
    start = 0
    for split, name in NAMES.items():
        images = sorted(scores[split], key=lambda image: float(image["true_dice"].max()))
        if not images:
            continue
        places = np.arange(start, start + len(images))
        true = np.stack([image["true_dice"] for image in images])
        chosen = [image["true_dice"][image["predicted_raw"].argmax()] for image in images]
        low, middle, high = true.min(1), np.median(true, axis=1), true.max(1)
        ax.vlines(places, low, high, color=FAINT, lw=4)
        ax.plot(places, middle, "_", ms=7, mew=1.5, color=GREY)
        ax.plot(places, high, "_", ms=7, mew=1.5, color=ORANGE)
        ax.plot(places, chosen, "o", ms=5, color=BLUE, mew=0)
        note = f"{name}: {np.mean(high - chosen):.3f} below the best"
        ax.text(start, 1.02, note, fontsize=8, transform=ax.get_xaxis_transform())
        start += len(images) + 1
    for label, marker, colour in (
        ("best", "_", ORANGE),
        ("rated best", "o", BLUE),
        ("median", "_", GREY),
    ):
        ax.plot([], [], marker, color=colour, mew=1.5, label=label)
    ax.legend(loc="lower right", ncols=3, fontsize=8)
    ax.set(xlabel="image, by the best mask on offer", ylabel="true Dice", xticks=[])
    ax.set_title(ax.get_title(loc="left"), pad=20)
    ax.grid(axis="y")


def _draw_history(ax: Axes, history: pd.DataFrame, column: str, label: str) -> None:
    for _, member in history.groupby("member"):
        ax.plot(member["iteration"], member[column], "o-", ms=3, lw=1.3, color=BLUE, alpha=0.7)
    ax.set_ylabel(label)
    ax.grid()
