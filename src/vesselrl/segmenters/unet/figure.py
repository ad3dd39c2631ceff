"""How the segmenter's networks learned."""

from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from vesselrl.segmenters.unet.rivals import FOLD
from vesselrl.style import BLUE, GREY, INK, ORANGE, RC

LOOKS: dict[str, dict[str, Any]] = {
    "supervised": {"color": INK, "ls": "-", "marker": "o"},
    "folds": {"color": GREY, "ls": ":", "marker": "."},
    "distilled": {"color": BLUE, "ls": "--", "marker": "s"},
    "pseudo_labelled": {"color": ORANGE, "ls": "-.", "marker": "^"},
}
"""Told apart by line and mark too, for print in grey."""
PANELS = {
    "loss": "Loss on training squares",
    "val_dice": "Dice on validation images, cut at 0.5 (ring: kept)",
}


def draw_training(history: pd.DataFrame) -> Figure:
    """Loss and validation Dice of every network at its checks; a ring where it was kept.

    Args:
        history: columns network, iteration, loss, val_dice. Students go on from the supervised
            network's iterations.
    """
    before = history.loc[history["network"] == "supervised", "iteration"].max()
    with rc_context(RC):
        figure = Figure(figsize=(9, 3.4))
        panels = figure.subplots(1, len(PANELS))
        for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
            for name, of_network in history.groupby("network", sort=False):
                kind = "folds" if str(name).startswith(FOLD) else str(name)
                is_student = kind not in ("supervised", "folds")
                steps = of_network["iteration"] + (before if is_student else 0)
                label = kind if name in (kind, f"{FOLD}0") else "_"
                axes.plot(steps, of_network[column], label=label, ms=4, lw=1.4, **LOOKS[kind])
                if column == "val_dice":
                    best = int(of_network[column].to_numpy().argmax())
                    kept = steps.iloc[best], of_network[column].iloc[best]
                    axes.plot(*kept, "o", ms=9, fillstyle="none", color=LOOKS[kind]["color"])
            axes.set_title(title, fontweight="normal", fontsize=9)
            axes.set_xlabel("Iterations")
            axes.grid(axis="y")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(LOOKS))
    return figure
