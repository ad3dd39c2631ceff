"""A look at drawn angiograms."""

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from vesselrl.style import ORANGE

COLUMNS = 6


def draw_drawings(images: npt.NDArray[np.uint8], masks: npt.NDArray[np.uint8]) -> Figure:
    """Drawings, their labelled vessels outlined.

    Args:
        images: uint8 (N, H, W), at least one.
        masks: uint8 (N, H, W), 255 in labelled vessels.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.9 * columns, 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, image, mask in zip(axes, images, masks, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        if mask.any():
            ax.contour(mask, levels=[127], colors=ORANGE, linewidths=0.6)
    return figure
