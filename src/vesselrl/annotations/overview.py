"""One picture of the data set: images with masks, sizes of splits and groups, what was refused."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vesselrl.annotations.assignment import SPLITS
from vesselrl.colour import one_channel
from vesselrl.samples import UNLABELLED
from vesselrl.style import BLUE, FAINT, GREEN, GREY, ORANGE, RC, VERMILLION

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 6
MOST_REASONS = 6
_COLOURS = dict(zip((*SPLITS, UNLABELLED), (BLUE, ORANGE, GREEN, FAINT), strict=True))
_LONGEST = 24  # characters of a name or a reason's line


def draw_overview(
    images: Mapping[str, Callable[[], Any]],
    masks: Mapping[str, Callable[[], Any]],
    samples: "pd.DataFrame",
    quarantine: "pd.DataFrame",
) -> Figure:
    """Draw a contact sheet of each split over charts of sizes, vessel fractions and refusals.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of bool (H, W); none of unlabelled images.
        samples: the table of samples, at least one row.
        quarantine: the table of refused entries, with a column ``reason``.
    """
    used = _with_images(samples)
    with rc_context(RC):
        heights = [2.1] * len(used) + [2.6]
        figure = Figure(figsize=(11, sum(heights)))
        rows: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
        for row, name in zip(rows, used, strict=False):
            _draw_contact_sheet(row, name, samples[samples["split"] == name], images, masks)
        widths = [1, 1, 1.2, 1.2] if len(quarantine) else [1, 1, 1.2]
        charts = rows[-1].subplots(1, len(widths), width_ratios=widths)
        _draw_sizes(charts[0], samples)
        _draw_group_sizes(charts[1], samples)
        _draw_fractions(charts[2], samples)
        if len(quarantine):
            _draw_refusals(charts[3], quarantine)
    return figure


def _with_images(samples: "pd.DataFrame") -> list[str]:
    """The splits that have images."""
    return [name for name in _COLOURS if (samples["split"] == name).any()]


def _draw_contact_sheet(
    row: Any,
    name: str,
    samples: "pd.DataFrame",
    images: Mapping[str, Callable[[], Any]],
    masks: Mapping[str, Callable[[], Any]],
) -> None:
    """Some images of one split, evenly chosen, so that they come from different groups."""
    colour = GREY if name == UNLABELLED else _COLOURS[name]
    row.suptitle(name, x=0.01, ha="left", weight="bold", color=colour)
    axes = row.subplots(1, COLUMNS)
    by_group = samples.sort_values(["group", "id"])["id"].tolist()
    chosen = np.linspace(0, len(by_group) - 1, min(COLUMNS, len(by_group))).round().astype(int)
    for axis in axes:
        axis.set_axis_off()
    for axis, index in zip(axes, chosen, strict=False):
        sample = by_group[index]
        image = images[sample]()
        height, width = image.shape[:2]
        axis.imshow(one_channel(image), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        if name != UNLABELLED and (mask := masks[sample]()).any():
            # A border of background closes the contour of what reaches the edge.
            places = [np.arange(-1, size + 1) for size in (width, height)]
            axis.contour(*places, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=0.8)
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axis.set_title(
            _shortened(sample), fontsize=8, weight="normal", loc="center", parse_math=False
        )


def _draw_sizes(axis: Any, samples: "pd.DataFrame") -> None:
    """Images of each split, and in how many groups."""
    names = list(dict.fromkeys((*SPLITS, *_with_images(samples))))
    parts = [samples[samples["split"] == name] for name in names]
    colours = [_COLOURS[name] for name in names]
    bars = axis.bar(names, [len(part) for part in parts], color=colours, width=0.6)
    labels = [f"{len(part):,}\nin {part['group'].nunique():,}" for part in parts]
    axis.bar_label(bars, labels, padding=2)
    axis.margins(y=0.28)
    axis.set_title("Images, in groups")
    axis.set_yticks([])
    axis.tick_params(bottom=False)
    axis.spines["left"].set_visible(False)


def _draw_group_sizes(axis: Any, samples: "pd.DataFrame") -> None:
    """How many groups have how many images."""
    sizes = samples.groupby(["split", "group"]).size()
    values = [sizes[sizes.index.get_level_values("split") == name].to_numpy() for name in _COLOURS]
    largest = int(sizes.max())
    bins = np.arange(0.5, largest + 1) if largest <= 20 else np.linspace(0.5, largest + 0.5, 21)
    axis.hist(values, bins, stacked=True, color=_COLOURS.values(), rwidth=0.85)
    axis.set_title("Images of a group")
    axis.set_xlabel("images")
    axis.set_ylabel("groups")
    for line in (axis.xaxis, axis.yaxis):
        line.set_major_locator(MaxNLocator(5, integer=True))


def _draw_fractions(axis: Any, samples: "pd.DataFrame") -> None:
    """The vessel fraction of every labelled image, and above it the median of each split."""
    percent = samples["vessel_fraction"] * 100
    values = [percent[samples["split"] == name] for name in SPLITS]
    bins = np.linspace(0, max(percent.max(), 1) * 1.001, 21)
    axis.hist(values, bins, stacked=True, color=[_COLOURS[n] for n in SPLITS], label=SPLITS)
    top = axis.get_ylim()[1]
    for name, part in zip(SPLITS, values, strict=True):
        if len(part):
            axis.plot(part.median(), top * 1.06, "v", color=_COLOURS[name], ms=7, clip_on=False)
    axis.set_ylim(0, top * 1.12)
    axis.set_title("Vessel pixels; ▾ median")
    axis.set_xlabel("%")
    axis.set_ylabel("images")
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.legend(fontsize=8)


def _draw_refusals(axis: Any, quarantine: "pd.DataFrame") -> None:
    """How often entries were refused for what, the most frequent reasons on top."""
    counts = Counter(kind_of_reason(reason) for reason in quarantine["reason"]).most_common()
    bars = dict(counts)
    if len(counts) > MOST_REASONS:
        bars = dict(counts[: MOST_REASONS - 1])
        bars["other reasons"] = len(quarantine) - sum(bars.values())
    places = MOST_REASONS - 1 - np.arange(len(bars))
    drawn = axis.barh(places, bars.values(), color=VERMILLION, height=0.35)
    axis.bar_label(drawn, padding=3)
    for place, reason in zip(places, bars, strict=True):
        axis.text(0, place + 0.24, reason, fontsize=8, va="bottom", color=GREY)
    axis.set(xticks=[], yticks=[], ylim=(-0.5, MOST_REASONS - 0.2))
    axis.margins(x=0.2)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set_title(f"Refused entries: {len(quarantine):,}")


def kind_of_reason(reason: str) -> str:
    """A reason without what is particular to one entry, to count by.

    >>> kind_of_reason("an odd number of coordinates (7)")
    'an odd number of coordinates'
    >>> kind_of_reason("polygon 3 lies wholly outside the image of 30 × 20 pixels; …")
    'polygon lies wholly outside the image'
    >>> kind_of_reason("fewer than 3 points (2)")
    'fewer than 3 points'
    >>> kind_of_reason('a coordinate is the text "2"')
    'a coordinate is text'
    """
    kind = re.split(r"[:;(]", re.sub(r'the text ".*', "text", reason), maxsplit=1)[0]
    kind = re.sub(r"^\d+ |(?<=polygon) \d+|(?<=for) \d+| of \d+ × \d+.*", "", kind).strip()
    return kind or reason


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
