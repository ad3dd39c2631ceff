"""The hacks as a picture: does the network rank each as the truth does?"""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from vesselrl.reward.hacks import NOTHING_TO_RANK, ranked_right
from vesselrl.reward.names import AGAINST_TRUTH, hack_name
from vesselrl.style import BLUE, FAINT, GREY, ORANGE, RC

COLUMNS = 4
SPLITS = {"val": ("validation", "o", BLUE), "test": ("test", "D", ORANGE)}
"""Split → name, marker, colour."""
ROOM = 1.15
"""From the farthest point to the end of an axis."""


def draw_hacks(table: pd.DataFrame) -> Figure:
    """A panel a hack: what it gains as predicted and in truth, a point an image.

    Args:
        table: columns split, hack, predicted, predicted_reference, true, true_reference; see
            `vesselrl.reward.hacks.HackRows`.
    """
    differences = table.assign(
        x=table["predicted"] - table["predicted_reference"],
        y=table["true"] - table["true_reference"],
    )
    hacks = list(differences["hack"].unique())
    rows = -(-len(hacks) // COLUMNS)
    with rc_context(RC):
        figure = Figure(figsize=(11, 0.9 + 2.9 * rows))
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for ax, hack in zip(axes, hacks, strict=False):
            _draw_hack(ax, differences[differences["hack"] == hack], hack)
        for ax in axes[len(hacks) :]:
            ax.set_axis_off()
        figure.supxlabel("Predicted objective of the hack minus that of its reference", size=9.5)
        figure.supylabel("True objective, hack minus reference", size=9.5)
        handles: list[Line2D | Rectangle] = [
            Line2D([], [], marker=marker, color=colour, ls="", mew=0, label=f"{name} image")
            for name, marker, colour in SPLITS.values()
        ]
        equal = "no better or worse than its reference: not counted"
        handles += [
            Line2D([], [], marker="o", mec=GREY, mfc="none", ls="", label=equal),
            Rectangle((0, 0), 1, 1, color=FAINT, label="ranked as the truth does"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=9)
    return figure


def _draw_hack(ax: Axes, images: pd.DataFrame, hack: str) -> None:
    reach = ROOM * max(NOTHING_TO_RANK, float(np.abs(images[["x", "y"]].to_numpy()).max()))
    for corner in ((0.5, 0.5), (0, 0)):
        ax.add_patch(
            Rectangle(corner, 0.5, 0.5, transform=ax.transAxes, color=FAINT, lw=0, zorder=0)
        )
    counts = []
    for split, (name, marker, colour) in SPLITS.items():
        of_split = images[images["split"] == split]
        if of_split.empty:
            continue
        counted = of_split["y"].abs() >= NOTHING_TO_RANK
        for part, face in ((of_split[counted], colour), (of_split[~counted], "none")):
            ax.plot(part["x"], part["y"], marker, ms=5, mfc=face, mec=colour, alpha=0.7)
        found = ranked_right(of_split, 0).iloc[0]
        right = round(found["share"] * found["images"]) if found["images"] else 0
        counts.append(f"{name} {right} of {found['images']}")
    ax.axhline(0, color=GREY, lw=1, zorder=1)
    ax.axvline(0, color=GREY, lw=1, zorder=1)
    against = "the truth" if hack in AGAINST_TRUTH else "the default mask"
    ax.set_title(hack_name(hack).capitalize(), pad=28)
    ax.text(
        0, 1.03, f"against {against}\nright: {', '.join(counts)}", fontsize=8, color=GREY,
        transform=ax.transAxes,
    )  # fmt: skip
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), box_aspect=1)
    ax.locator_params(nbins=5)
    ax.tick_params(labelsize=8)
