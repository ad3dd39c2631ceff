"""Masks as image files: ``masks/x.png`` is the mask of the image of the same stem."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.entries import Refusal, refused
from vesselrl.annotations.pictures import open_picture

Mask = npt.NDArray[np.bool_]

MOST_LEVELS = 8
_GREY = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")


def entries_of_masks(images: Iterable[str], masks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """One entry a mask.

    Args:
        images: names of the files in ``images/``.
        masks: names of the files in ``masks/``.
    """
    of_stem: dict[PurePosixPath, list[str]] = {}
    for image in images:
        of_stem.setdefault(PurePosixPath(image).with_suffix(""), []).append(image)
    for mask in masks:
        candidates = of_stem.get(PurePosixPath(mask).with_suffix(""), [])
        if mask in candidates:
            candidates = [mask]
        if len(candidates) == 1:
            yield {"image": candidates[0], "mask_file": mask}
        elif candidates:
            reason = f"{len(candidates)} images have the stem of this mask"
            yield refused(mask, "mask_file", reason, "give the mask the whole name of its image")
        else:
            reason = "no image in images/ has the stem of this mask"
            yield refused(mask, "mask_file", reason, "expected masks/x.png for images/x.jpg")


def decode_mask(data: bytes, max_pixels: int, may_be_full: bool = False) -> Mask:
    """Decode a mask file of any format, depth and mode.

    Vessel is whatever is not 0 (grey) or not black (colour, palette); what is fully transparent is
    background. Up to `MOST_LEVELS` different values are labels, all of them vessel. More are a
    soft mask, whose threshold only its maker knows: it is refused. So is one without background.

    Args:
        data: the bytes of the file.
        max_pixels: more pixels than this are refused before they are decoded.
        may_be_full: whether one value everywhere, not 0, is a mask: everything is vessel.

    Returns:
        bool (H, W), in the orientation in which the file is displayed.

    Raises:
        Refusal: the file cannot be decoded, or is no mask.
    """
    try:
        source = open_picture(data, max_pixels)
    except Refusal as refusal:
        raise Refusal("mask_file", refusal.reason, refusal.hint) from None
    if source.mode in _GREY:
        values = np.asarray(source)
    else:
        channels = np.asarray(source.convert("RGBA"))
        del source  # a large one takes as much memory as each of these
        values = channels.view("<u4")[..., 0] & 0xFFFFFF
        values[channels[..., 3] == 0] = 0
    levels = _levels(values)
    if len(levels) > MOST_LEVELS:
        raise Refusal(
            "mask_file",
            f"a soft mask: {len(levels)} different values",
            f"expected 0 and 255, or at most {MOST_LEVELS} labels: threshold it first",
        )
    if 0 not in levels and not (may_be_full and len(levels) == 1):
        raise Refusal("mask_file", "no pixel is background", "expected background of 0, black")
    return np.asarray(values != 0)


def _levels(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)
