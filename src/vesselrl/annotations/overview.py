"""One picture of the data set: images with masks, sizes of the splits, vessel fractions."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from vesselrl.annotations.splits import SPLITS
from vesselrl.report.style import BLUE, GREEN, ORANGE, RC

COLUMNS = 6
_COLOURS = dict(zip(SPLITS, (BLUE, ORANGE, GREEN), strict=True))


def draw_overview(
    images: Mapping[str, Callable[[], Any]], masks: Mapping[str, Callable[[], Any]], samples: Any
) -> Figure:
    """Draw a contact sheet of each split over charts of sizes and vessel fractions.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of bool (H, W).
        samples: the table of samples, at least one row.
    """
    with rc_context(RC):
        figure = Figure(figsize=(11, 9))
        rows: Any = figure.subfigures(len(SPLITS) + 1, 1, height_ratios=[1, 1, 1, 1.1])
        for row, name in zip(rows, SPLITS, strict=False):
            _draw_contact_sheet(row, name, samples[samples["split"] == name], images, masks)
        charts = rows[-1].subplots(1, 3)
        _draw_counts(charts[0], samples.groupby("split").size(), "Images")
        _draw_counts(charts[1], samples.groupby("split")["group"].nunique(), "Groups")
        _draw_fractions(charts[2], samples)
    return figure


def _draw_contact_sheet(
    row: Any,
    name: str,
    samples: Any,
    images: Mapping[str, Callable[[], Any]],
    masks: Mapping[str, Callable[[], Any]],
) -> None:
    """Some images of one split, evenly chosen, so that they come from different groups."""
    row.suptitle(name, x=0.01, ha="left", weight="bold", color=_COLOURS[name])
    axes = row.subplots(1, COLUMNS)
    by_group = samples.sort_values(["group", "id"])["id"].tolist()
    chosen = np.linspace(0, len(by_group) - 1, min(COLUMNS, len(by_group))).round().astype(int)
    for axis in axes:
        axis.set_axis_off()
    for axis, index in zip(axes, chosen, strict=False):
        sample = by_group[index]
        image, mask = images[sample](), masks[sample]()
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        if mask.any() and not mask.all():
            axis.contour(mask, levels=[0.5], colors=[_COLOURS[name]], linewidths=0.7)
        axis.set_title(sample, fontsize=8, weight="normal")


def _draw_counts(axis: Any, counts: Any, title: str) -> None:
    values = [int(counts.get(name, 0)) for name in SPLITS]
    bars = axis.bar(SPLITS, values, color=_COLOURS.values(), width=0.6)
    axis.bar_label(bars, padding=2)
    axis.margins(y=0.15)
    axis.set_title(title)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)


def _draw_fractions(axis: Any, samples: Any) -> None:
    percent = samples["vessel_fraction"] * 100
    bins = np.linspace(0, max(percent.max(), 1), 21)
    values = [percent[samples["split"] == name] for name in SPLITS]
    axis.hist(values, bins, stacked=True, color=_COLOURS.values(), label=SPLITS)
    axis.set_title("Vessel pixels of an image")
    axis.set_xlabel("%")
    axis.set_ylabel("images")
    axis.legend()
