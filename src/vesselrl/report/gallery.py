"""The best, the median and the worst image, as a reader of angiograms would look at them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vesselrl.colour import one_channel
from vesselrl.style import GROUND, PAPER, PARTS, RC

OPACITY = 0.7

Lazy = Mapping[str, Callable[[], npt.NDArray[Any]]]


def gallery_images(scores: pd.DataFrame, method: str) -> dict[str, str]:
    """Which images to show: those with the best, the median and the worst Dice of a method.

    Args:
        scores: index (method, image), column dice.
        method: whose Dice decides.

    Returns:
        ``best``, ``median``, ``worst`` → image id; fewer where the test set has fewer images.
    """
    order = scores.loc[method]["dice"].sort_values(ascending=False, kind="stable").index
    places = {"best": 0, "worst": len(order) - 1, "median": len(order) // 2}
    chosen: dict[str, str] = {}
    for name, place in places.items():
        if order[place] not in chosen.values():
            chosen[name] = order[place]
    return {name: chosen[name] for name in ("best", "median", "worst") if name in chosen}


def draw_gallery(
    images: Lazy, masks: Lazy, predictions: Lazy, scores: pd.DataFrame, methods: Sequence[str]
) -> Figure:
    """What each method found, invented and missed, in colour over the image, beside the image.

    Args:
        images: id → uint8 (H, W) or (H, W, 3).
        masks: id → bool (H, W), the ground truth.
        predictions: ``<method>/masks/<id>`` → bool (H, W).
        scores: index (method, image), columns dice and recall.
        methods: a column each; the Dice of the first chooses the images.
    """
    rows = gallery_images(scores, methods[0])
    with rc_context(
        {**RC, "text.color": PAPER, "axes.titlecolor": PAPER, "axes.titleweight": "normal"}
    ):
        width = 3.3 * (1 + len(methods))
        figure = Figure(figsize=(width, 0.5 + 3.55 * len(rows)), facecolor=GROUND)
        axes = figure.subplots(len(rows), 1 + len(methods), squeeze=False)
        for line, (place, image_id) in zip(axes, rows.items(), strict=True):
            image, truth = images[image_id](), masks[image_id]()
            # Colours are laid over grey: on a photograph of a retina orange would hardly be seen.
            for ax, ground in zip(line, [image, *[one_channel(image)] * len(methods)], strict=True):
                ax.imshow(ground, cmap="gray", interpolation="nearest")
                ax.set_axis_off()
            # An id may hold a dollar sign, which Matplotlib would read as mathematics.
            line[0].set_title(f"{place.capitalize()}: {image_id}", parse_math=False, fontsize=9)
            for ax, method in zip(line[1:], methods, strict=True):
                colour_parts(ax, predictions[f"{method}/masks/{image_id}"](), truth)
                dice, recall = scores.loc[(method, image_id), ["dice", "recall"]]
                title = f"{method}: Dice {dice:.2f}, recall {recall:.2f}"
                ax.set_title(title, parse_math=False, fontsize=9)
        handles = [Patch(color=colour) for colour in PARTS.values()]
        figure.legend(handles, PARTS, loc="outside lower center", ncols=len(PARTS), fontsize=10)
    return figure


def colour_parts(ax: Axes, predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> None:
    """Lay the `PARTS` of a mask over an image.

    Args:
        ax: with the image.
        predicted: bool (H, W).
        truth: bool (H, W).
    """
    parts = (predicted & truth, predicted & ~truth, ~predicted & truth)
    for part, colour in zip(parts, PARTS.values(), strict=True):
        layer = np.zeros((*part.shape, 4))
        layer[part] = to_rgba(colour, OPACITY)
        ax.imshow(layer, interpolation="nearest")
