"""What RL did to a segmenter: proxy and gold, Dice of each image, masks before and after."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vesselrl.report.curves import GOLD, MARKS, PROXY, draw_seeds, mark_kept_and_ended
from vesselrl.report.gallery import colour_parts
from vesselrl.rl.looks import kept
from vesselrl.style import BLUE, FAINT, GREY, GROUND, INK, PAPER, PARTS, RC

Mask = npt.NDArray[np.bool_]
COLOURS = "magma"
"""Of probabilities of an error, black for none."""
KEYS = 0.05
"""Height of the row of keys, where an image's width is 1."""
LINES = {
    "val_gold": ("validation images: gold, the ground truth", GOLD),
    "val_proxy": ("validation images: proxy, the reward", PROXY),
    "proxy": ("unlabelled images: proxy", (GREY, ":")),
}
"""Column of the history → what it is, colour and line style."""


def draw_proxy_and_gold(histories: pd.DataFrame) -> Figure:
    """The objective over training as the reward and as the truth see it: thin lines a seed.

    A ring marks the network of each seed that was kept, a cross the end of its training. On the
    right each seed's path through proxy and gold: as long as it climbs to the right, the reward can
    be trusted.

    Args:
        histories: columns seed, steps, val_gold, val_proxy, proxy: one row a look; validation
            columns are missing where there were no validation images.
    """
    with rc_context(RC):
        figure = Figure(figsize=(9.4, 3.6))
        over_time, path = figure.subplots(1, 2)
        for column, (name, look) in LINES.items():
            if column in histories:
                draw_seeds(over_time, histories, column, *look, name)
        over_time.set_xlabel("Batches")
        over_time.set_ylabel("Objective")
        if "val_gold" in histories:
            mark_kept_and_ended(over_time, histories)
            for _, of_seed in histories.groupby("seed"):
                path.plot(of_seed["val_proxy"], of_seed["val_gold"], "-", color=BLUE, lw=1)
                rows: list[Any] = of_seed.to_dict("records")
                best = kept(rows) or {}
                for row, marker in ((rows[0], "s"), (best, "o"), (rows[-1], "x")):
                    path.plot(row["val_proxy"], row["val_gold"], marker, **MARKS)
        path.set_xlabel("Proxy: the reward, validation images")
        path.set_ylabel("Gold: the ground truth")
        path.set_title(
            "square: start, ring: kept, cross: end", fontsize=9, color=GREY, fontweight="normal"
        )
        for ax in (over_time, path):
            ax.grid(axis="both" if ax is path else "y")
        handles, names = over_time.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def draw_dice_before_and_after(scores: pd.DataFrame) -> Figure:
    """Dice of each validation image by the start and after it, a panel a method.

    With several seeds a point is their mean, a line goes from the least to the highest.

    Args:
        scores: columns method, seed, image, dice_before, dice_after.
    """
    methods = list(scores["method"].unique())
    with rc_context(RC):
        figure = Figure(figsize=(0.6 + 3.6 * max(len(methods), 1), 3.9))
        panels = figure.subplots(1, max(len(methods), 1), squeeze=False, sharey=True)[0]
        if not methods:
            panels[0].set_axis_off()
            figure.text(0.5, 0.5, "There are no validation images.", ha="center")
            return figure
        least = float(scores[["dice_before", "dice_after"]].min().min()) - 0.02
        for ax, method in zip(panels, methods, strict=True):
            of_method = scores[scores["method"] == method].groupby("image")
            before, after = of_method["dice_before"].mean(), of_method["dice_after"]
            ax.plot([least, 1], [least, 1], color=GREY, lw=0.8, ls="--")
            ax.vlines(before, after.min(), after.max(), color=FAINT, lw=2)
            ax.plot(before, after.mean(), "o", ms=4.5, color=BLUE, mec="white", mew=0.5)
            gain = after.mean() - before
            ax.set_title(method, parse_math=False)
            ax.text(
                0.03, 0.97, f"{gain.mean():+.3f} on average\n{int((gain > 0).sum())} of "
                f"{len(gain)} images better", transform=ax.transAxes, va="top", fontsize=8.5,
                color=INK,
            )  # fmt: skip
            ax.set(xlim=(least, 1), ylim=(least, 1), aspect="equal", xlabel="Dice before")
        panels[0].set_ylabel("Dice after")
    return figure


class Shown(NamedTuple):
    """An image before and after, all of its size (H, W).

    Attributes:
        sample: its id.
        image: uint8 (H, W) or (H, W, 3).
        truth: bool.
        before: bool, the start's mask.
        after: bool, the mask after RL.
        expected_error: float32 in [0, 1], the probability that ``after`` is wrong, by the reward.
    """

    sample: str
    image: npt.NDArray[np.uint8]
    truth: Mask
    before: Mask
    after: Mask
    expected_error: npt.NDArray[np.float32]


def draw_before_and_after(shown: Sequence[Shown]) -> Figure:
    """Image, masks before and after in colour over it, and where the reward expects errors.

    Args:
        shown: a row each; at least one.
    """
    look = {**RC, "text.color": PAPER, "axes.titlecolor": PAPER, "axes.titleweight": "normal"}
    with rc_context(look):
        heights = [np.divide(*row.truth.shape) for row in shown]
        size = (11, 0.7 + sum(0.25 + 2.7 * height for height in heights))
        figure = Figure(figsize=size, facecolor=GROUND)
        *rows, keys = figure.subplots(
            len(shown) + 1, 4, squeeze=False, height_ratios=[*heights, KEYS]
        )
        for axes, row in zip(rows, shown, strict=True):
            _draw_row(axes, row)
        _draw_keys(figure, keys)
    return figure


def _draw_row(axes: Sequence[Axes], row: Shown) -> None:
    image, before, after, expected = axes
    image.imshow(row.image, cmap="gray")
    # An id may hold a dollar sign, which Matplotlib would read as mathematics.
    image.set_title(row.sample, parse_math=False, fontsize=9)
    for ax, mask, name in ((before, row.before, "before"), (after, row.after, "after")):
        ax.imshow(row.image, cmap="gray")
        colour_parts(ax, mask, row.truth)
        size = int(mask.sum()) + int(row.truth.sum())
        dice = 2 * int((mask & row.truth).sum()) / size if size else 1.0
        ax.set_title(f"{name}: Dice {dice:.2f}", fontsize=9)
    expected.imshow(row.expected_error, cmap=COLOURS, vmin=0, vmax=1)
    expected.set_title("errors the reward expects after", fontsize=9)
    for ax in axes:
        ax.set_axis_off()


def _draw_keys(figure: Figure, row: Sequence[Axes]) -> None:
    blank, parts, other, probability = row
    for ax in (blank, parts, other):
        ax.set_axis_off()
    handles = [Patch(color=colour) for colour in PARTS.values()]
    legend = parts.legend(handles, PARTS, loc="upper left", fontsize=9, ncols=3, borderaxespad=0)
    legend.set_in_layout(False)  # it reaches into the next column, which is empty
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), cax=probability, orientation="horizontal")
    bar.set_label("probability of an error", color=PAPER, fontsize=9)
    bar.ax.tick_params(colors=PAPER, labelsize=8)
