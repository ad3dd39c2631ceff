"""A figure of what each prompt finds."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from vesselrl.colour import one_channel
from vesselrl.style import ORANGE, SKY

HALF = 127.5
"""Between the levels of probabilities up to and above one half."""


def draw_overview(
    images: Mapping[str, npt.NDArray[np.uint8]],
    truths: Mapping[str, npt.NDArray[np.bool_]],
    levels: Mapping[str, npt.NDArray[np.uint8]],
    prompts: Sequence[str],
) -> Figure:
    """One row an image: the image with its truth outlined, then each prompt's map.

    Args:
        images: sample id → uint8 (H, W) or (H, W, 3).
        truths: sample id → bool (H, W).
        levels: sample id → uint8 (P, H, W), see `vesselrl.segmenters.levels`.
        prompts: P names.
    """
    rows, columns = max(1, len(images)), 1 + len(prompts)
    figure = Figure(figsize=(1.5 * columns, 1.5 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, (sample, image) in zip(axes, images.items(), strict=False):
        row[0].imshow(one_channel(image), cmap="gray")
        _outline(row[0], truths[sample], 0.5, ORANGE)
        row[0].text(
            0.02,
            0.98,
            sample,
            transform=row[0].transAxes,
            va="top",
            fontsize=7,
            color="white",
            parse_math=False,
        )
        for ax, of_prompt in zip(row[1:], levels[sample], strict=True):
            ax.imshow(of_prompt, cmap="gray", vmin=0, vmax=255)
            _outline(ax, of_prompt, HALF, SKY)
    titles = ["image, truth outlined", *prompts]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title("\n".join(textwrap.wrap(title, 16)), fontsize=8, parse_math=False)
    figure.suptitle("Probability of each prompt, outlined at 0.5", fontsize=9)
    return figure


def _outline(ax: Any, values: npt.NDArray[Any], level: float, colour: str) -> None:
    """A contour, where there is one to draw."""
    if min(values.shape) > 1 and values.min() <= level < values.max():
        ax.contour(values, levels=[level], colors=colour, linewidths=0.6)
