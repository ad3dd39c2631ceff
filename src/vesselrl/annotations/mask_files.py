"""Masks as image files: ``masks/x.png`` is the mask of the image of the same stem."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.entries import Refusal, refused
from vesselrl.annotations.pictures import open_picture

Mask = npt.NDArray[np.bool_]

MOST_LEVELS = 8
MOST_BETWEEN = 0.01
"""Above this share of grey pixels a JPEG file is a picture, not a mask of 0 and 255."""
_ENDING = re.compile(r"(?<=[^/])[-_. ](?=[^-_. /]*[^\W\d_])[^-_. /]+$")
_JPEG = b"\xff\xd8"
_GREY = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")


def entries_of_masks(images: Iterable[str], masks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """One entry a mask.

    If no mask has the stem of an image, the ending that most masks have, such as ``_mask``, is left
    out, and if that is not enough, those of the images as well: ``21_manual1`` belongs to
    ``21_training``. Nothing is, if an image has that ending too, but for its number: it tells files
    apart then, and ``p1_f2`` is no mask of ``p1-f1``.

    Args:
        images: names of the files in ``images/``.
        masks: names of the files in ``masks/``.
    """
    images, masks = list(images), list(masks)
    plain_images, plain_masks = _stems(images), _stems(masks)
    ending = _most_common_ending(plain_masks)
    short_masks = [stem.removesuffix(ending) for stem in plain_masks]
    # Each its own: a mask is not given to one of several images that differ in the ending alone.
    short_images = [_ENDING.sub("", stem) for stem in plain_images]
    if ending and _word(ending) in {_word(_ending(stem)) for stem in plain_images}:
        short_images, short_masks = plain_images, plain_masks
    image_stems, mask_stems = next(
        (
            (of_images, of_masks)
            for of_images, of_masks in (
                (plain_images, plain_masks),
                (plain_images, short_masks),
                (short_images, short_masks),
            )
            if not set(of_images).isdisjoint(of_masks)
        ),
        (plain_images, plain_masks),
    )
    of_stem: dict[str, list[str]] = {}
    for image, stem in zip(images, image_stems, strict=True):
        of_stem.setdefault(stem, []).append(image)
    for mask, stem in zip(masks, mask_stems, strict=True):
        candidates = of_stem.get(stem, [])
        if mask in candidates:
            candidates = [mask]
        if len(candidates) == 1:
            yield {"image": candidates[0], "mask_file": mask}
        elif candidates:
            reason = f"{len(candidates)} images have the stem of this mask"
            yield refused(mask, "mask_file", reason, "give the mask the whole name of its image")
        else:
            reason = "no image in images/ has the stem of this mask"
            hint = "expected masks/x.png for images/x.jpg, or x_mask.png with one ending for all"
            yield refused(mask, "mask_file", reason, hint)


def _stems(files: list[str]) -> list[str]:
    return [PurePosixPath(file).with_suffix("").as_posix() for file in files]


def _most_common_ending(stems: list[str]) -> str:
    """What most of the stems have from their last separator on.

    It has a letter: a number is that of a frame or a patient.

    >>> _most_common_ending(["12_mask", "a_13_mask"]), _most_common_ending(["12_1", "13_1"])
    ('_mask', '')
    """
    endings = Counter(map(_ending, stems))
    return max(endings, key=endings.__getitem__)


def _ending(stem: str) -> str:
    found = _ENDING.search(stem)
    return found[0] if found else ""


def _word(ending: str) -> str:
    """An ending without separator, numbers and capitals."""
    return re.sub(r"\d", "", ending[1:]).casefold()


def decode_mask(data: bytes, max_pixels: int, may_be_full: bool = False) -> Mask:
    """Decode a mask file of any format, depth and mode.

    Vessel is whatever is not 0 (grey) or not black (colour, palette); what is fully transparent is
    background. Up to `MOST_LEVELS` different values are labels, all of them vessel. More are a
    soft mask, whose threshold only its maker knows: it is refused. So is one without background.
    JPEG files are compressed with loss, which leaves greys about every outline: if hardly any
    pixels lie between, they are cut in the middle of 0 and 255.

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
    if data.startswith(_JPEG):
        values: npt.NDArray[Any] = _without_loss(np.asarray(source.convert("L")))
    elif source.mode in _GREY:
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


def _without_loss(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """0 and 255, as they were before they were compressed."""
    between = np.mean((values >= 64) & (values < 192))
    if between > MOST_BETWEEN:
        raise Refusal(
            "mask_file",
            f"a soft mask: {between:.0%} of its pixels are neither black nor white",
            "expected 0 and 255: threshold it first, and save it as PNG",
        )
    if 0 < values.max() < 192:
        raise Refusal(
            "mask_file",
            f"a JPEG file with values of at most {values.max()}, which compression changes",
            "save the mask as PNG",
        )
    return (values >= 128) * np.uint8(255)


def _levels(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)
