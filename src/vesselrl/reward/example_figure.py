"""Do the masks that the network learns from range from useless to perfect?"""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vesselrl.report.words import counted
from vesselrl.reward.examples import Loader
from vesselrl.reward.qualities import THRESHOLDS, Counts, Qualities, quantiles
from vesselrl.style import BLUE, FAINT, GREY, INK, ORANGE, RC

PER_BAR = 4  # bins
TENTHS = 10
OWN = LinearSegmentedColormap.from_list("own", ["#cfe2f1", BLUE, "#00304d"])
SPLITS = {"train": "training", "val": "validation"}


def draw_examples(examples: Mapping[str, Iterable[Loader]]) -> Figure:
    """The Dice of training and validation masks by kind, and what each corruption does to it.

    Args:
        examples: ``train`` and ``val`` → loaders of `vesselrl.reward.examples.reward_examples`.
    """
    qualities = {split: Qualities.of(examples[split]) for split in SPLITS}
    with rc_context(RC):
        figure = Figure(figsize=(11, 3.6))
        train, val, corruptions = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
        for ax, (split, name) in zip((train, val), SPLITS.items(), strict=True):
            _draw_shares(ax, qualities[split], name)
        val.sharey(train)
        train.set_ylabel("share of the masks [%]")
        handles, names = train.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=len(names), fontsize=8)
        _draw_corruptions(corruptions, qualities["train"].by_corruption)
    return figure


def _draw_shares(ax: Axes, qualities: Qualities, split: str) -> None:
    bars = 100 * qualities.shares.reshape(len(THRESHOLDS) + 1, -1, PER_BAR).sum(2)
    edges = np.linspace(0, 1, bars.shape[1] + 1)
    colours = [OWN(shade) for shade in np.linspace(0, 1, len(THRESHOLDS))]
    labels = [f"segmenter's map > {threshold}" for threshold in THRESHOLDS]
    base = np.zeros(bars.shape[1])
    kinds = zip(bars, [*colours, ORANGE], [*labels, "corrupted truth"], strict=True)
    for heights, colour, label in kinds:
        ax.bar(edges[:-1], heights, edges[1], base, align="edge", color=colour, label=label)
        base += heights
    tenths = 100 * qualities.shares.sum(0).reshape(TENTHS, -1).sum(1)
    masks = int(qualities.own.sum() + qualities.corrupted.sum())
    ax.set_title(f"{masks:,} masks of {counted(qualities.images, f'{split} image')}")
    ax.text(
        0.02, 0.98, f"the rarest tenth of the range\nholds {tenths.min():.1f} % of the masks",
        va="top", fontsize=8.5, color=INK, transform=ax.transAxes,
    )  # fmt: skip
    ax.set(xlim=(0, 1), xlabel="true Dice")
    ax.margins(y=0.2)
    ax.grid(axis="y")


def _draw_corruptions(ax: Axes, by_corruption: Mapping[str, Counts]) -> None:
    """Of each corruption 5 to 95 %, the middle half and the median, the gentlest on top."""
    ax.set_title("Corruptions, up to 3 a mask")
    spread = {name: quantiles(counts) for name, counts in by_corruption.items()}
    names = sorted(spread, key=lambda name: spread[name][2])
    for row, name in enumerate(names):
        lowest, low, middle, high, highest = spread[name]
        ax.plot([lowest, highest], [row, row], color=FAINT, lw=5, solid_capstyle="butt")
        ax.plot([low, high], [row, row], color=ORANGE, lw=5, solid_capstyle="butt")
        ax.plot(middle, row, "|", color=INK, ms=11, mew=2)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.tick_params(left=False)
    ax.set(xlim=(0, 1), xlabel="true Dice: 5 to 95 %, middle half, median")
    ax.grid(axis="x")
    if not names:
        ax.text(0.5, 0.5, "none", ha="center", color=GREY)
