"""Accepted entries → masks, whatever their annotation was written as."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import normalised, read
from vesselrl.annotations.mask_files import decode_mask
from vesselrl.annotations.polygons import Mask, rasterise
from vesselrl.annotations.rle import decode_rle


def draw_mask(
    entry: Mapping[str, Any], masks: Mapping[str, Callable[[], bytes]], max_pixels: int
) -> Mask:
    """Draw the mask of an accepted entry.

    Polygons are filled as `vesselrl.annotations.polygons.rasterise` fills them. A run-length
    encoded mask of another size than the image takes the nearest pixel.

    Args:
        entry: ``height``, ``width``, ``polygons`` (flat), ``rle`` (a list) and ``mask_file`` (a
            name or empty), as `vesselrl.annotations.acceptance.accept` gives them.
        masks: file name → loader of the bytes of a mask file.
        max_pixels: larger mask files and run-length encoded masks are refused.

    Returns:
        bool (height, width).

    Raises:
        Refusal: a mask file is missing, damaged, no mask, or of another size than the image.
    """
    height, width = entry["height"], entry["width"]
    if entry["mask_file"]:
        data = read(masks, normalised(entry["mask_file"]), "mask_file", "masks")
        mask = decode_mask(data, max_pixels)
        if mask.shape != (height, width):
            raise Refusal(
                "mask_file",
                f"the mask has {mask.shape[1]} × {mask.shape[0]} pixels; the image "
                f"{width} × {height}",
                "expected a mask of the image's size",
            )
        return mask
    mask = rasterise(entry["polygons"], height, width)
    for rle in entry["rle"]:
        rows, columns = rle["size"]
        if rows * columns > max_pixels:
            raise Refusal(
                "mask",
                f"a run-length encoded mask of {columns} × {rows} pixels, more than the limit of "
                f"{max_pixels:,}",
                "use the image that was annotated, or raise ingest.max_pixels",
            )
        part = decode_rle(rle)
        if part.shape != mask.shape:
            nearest = Image.Resampling.NEAREST
            part = np.asarray(Image.fromarray(part).resize((width, height), nearest))
        mask = mask | part
    return mask
