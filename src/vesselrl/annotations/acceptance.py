"""From an entry and its image to an accepted entry, and ids for all of them."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np

from vesselrl.annotations import folder
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import (
    Entry,
    Refusal,
    describe,
    printable,
    read_entry,
    scaled_to,
)
from vesselrl.annotations.pictures import Pixels, decode
from vesselrl.annotations.polygons import Mask

Files = Mapping[str, Callable[[], bytes]]

LONGEST_ID = 200
"""Bytes: file systems hold 255, of which endings and the numbers of frames need some."""
EXCHANGED = (
    "exchange x and y, with which the coordinates would fit; or, if the image was turned since it "
    "was annotated, turn it back"
)
OVERHANG = 0.05  # polygons may reach beyond the border by this share of the longer side; clipped

NO_FILES: Files = MappingProxyType({})


@dataclass(frozen=True)
class Sample:
    """An accepted entry with its image, and its mask if it is labelled.

    Attributes:
        entry: see `accept`.
        image: uint8 (H, W) or (H, W, 3).
        mask: bool (H, W); None without a label.
    """

    entry: dict[str, Any]
    image: Pixels
    mask: Mask | None


def accept(
    raw: Any,
    images: Files,
    taken: Mapping[str, int],
    max_pixels: int,
    masks: Files = NO_FILES,
) -> dict[str, Any]:
    """Check one entry together with its image.

    Args:
        raw: what the annotations hold, anything that JSON can; see `vesselrl.annotations.entries`.
        images: file name → loader of the file's bytes.
        taken: file → number of the entry that has it already.
        max_pixels: larger images are refused.
        masks: file name → loader of the bytes of a mask file.

    Returns:
        ``file``, ``frame`` (None but in a file of several), ``width``, ``height``, ``sha256`` of
        the file, ``vessel_fraction`` of the mask's pixels (None without a label), ``clipped``
        (whether a polygon reaches over the border), ``text``; and what
        `vesselrl.annotations.drawing.draw_mask` makes the mask from: ``polygons`` (flat), ``rle``
        (a list) and ``mask_file`` (a name or empty).

    Raises:
        Refusal: the entry cannot be used.
    """
    entry = read_entry(raw)
    file = folder.normalised(entry.file)
    if file in taken:
        raise duplicate(taken[file])
    return _sample(entry, images, max_pixels, masks).entry


def read_sample(raw: Any, images: Files, max_pixels: int, masks: Files = NO_FILES) -> Sample:
    """Check one entry, and decode its image and draw its mask, each once.

    Args and errors are those of `accept`, but for duplicates.
    """
    return _sample(read_entry(raw), images, max_pixels, masks)


def _sample(entry: Entry, images: Files, max_pixels: int, masks: Files) -> Sample:
    file = folder.normalised(entry.file)
    data = folder.read(images, file)
    image = decode(data, max_pixels, entry.frame)
    height, width = image.shape[:2]
    entry = scaled_to(entry, width, height)
    check_against_size(entry, width, height)
    accepted = {
        "file": file,
        "frame": entry.frame,
        "width": width,
        "height": height,
        "sha256": hashlib.sha256(data).hexdigest(),
        "clipped": overhangs(entry, width, height),
        "text": entry.text,
        "polygons": entry.polygons,
        "rle": entry.rles,
        "mask_file": entry.mask_file,
    }
    mask = draw_mask(accepted, masks, max_pixels) if entry.labelled else None
    accepted["vessel_fraction"] = (
        None if mask is None else round(np.count_nonzero(mask) / mask.size, 6)
    )
    return Sample(accepted, image, mask)


def check_against_size(entry: Entry, width: int, height: int) -> None:
    """Check that the polygons belong to an image of this size.

    Points may lie a little outside (`OVERHANG`): they are clipped.

    Raises:
        Refusal: a polygon lies wholly outside, the coordinates fit only another image size or with
            x and y exchanged, or they run from 0 to 1.
    """
    if not entry.polygons:
        return
    left, top, right, bottom = entry.extent
    reach = OVERHANG * max(width, height)
    beyond = min(left, top) < -reach or right > width - 1 + reach or bottom > height - 1 + reach
    span = f"coordinates span x {left:g} to {right:g} and y {top:g} to {bottom:g}"
    if beyond and min(left, top) >= -reach:
        span += (
            f", which fits only an image of at least {math.ceil(right) + 1} × "
            f"{math.ceil(bottom) + 1} pixels"
        )
    if _are_shares(entry):
        raise Refusal(
            "mask",
            f"{span}: shares of the width and height, not pixels",
            f"multiply each x by {width} and each y by {height}",
        )
    hint = "use the image that the polygons were drawn on, or scale them to this one"
    if width != height and min(left, top) >= 0 and right <= height and bottom <= width:
        hint = EXCHANGED
    for number, (west, north, east, south) in enumerate(entry.extents):
        if east < -0.5 or south < -0.5 or west > width - 0.5 or north > height - 0.5:
            raise Refusal(
                "mask",
                f"polygon {number} lies wholly outside the image of {width} × {height} pixels; "
                + span,
                hint,
            )
    if beyond:
        raise Refusal("mask", f"{span}; the image has {width} × {height}", hint)


def _are_shares(entry: Entry) -> bool:
    """Whether coordinates run from 0 to 1, as YOLO has them: in pixels all would be one corner."""
    left, top, right, bottom = entry.extent
    within = min(left, top) >= 0 and max(right, bottom) <= 1
    return within and any(value % 1 for polygon in entry.polygons for value in polygon)


def overhangs(entry: Entry, width: int, height: int) -> bool:
    """Whether any point lies outside the image, so that its polygon is clipped."""
    if not entry.polygons:
        return False
    left, top, right, bottom = entry.extent
    return min(left, top) < -0.5 or right > width or bottom > height


def duplicate(number: int) -> Refusal:
    """The refusal of an entry about an image that the entry of this number has already."""
    return Refusal(
        "image",
        f"a duplicate: entry {number} is about this image already",
        "keep one entry an image; put all of its polygons there",
    )


def name_of(raw: Any) -> str:
    """The image that an entry is about, as far as it tells; for people to find it by."""
    file = raw.get("image") if isinstance(raw, dict) else None
    return printable(file) if isinstance(file, str) else "" if file is None else describe(file)


def sample_ids(files: Iterable[str]) -> dict[str, str]:
    """File → id, each id once and fit for a file name.

    The id is the file's stem; files of equal stems get the suffix as well, and files of equal names
    in different folders their whole path. What is longer than `LONGEST_ID` ends in a hash. Names
    that differ by capitals alone are equal: to some file systems they are.

    >>> sample_ids(["a.png", "b.png", "b.jpg"])
    {'a.png': 'a', 'b.png': 'b.png', 'b.jpg': 'b.jpg'}
    >>> sample_ids(["x/c.png", "y/c.png"])
    {'x/c.png': 'x%2Fc.png', 'y/c.png': 'y%2Fc.png'}
    """
    forms = {
        file: [_shortened(form, file) for form in _forms(PurePosixPath(file))] for file in files
    }
    # A stem of dots alone would be a folder's name.
    level = {file: 0 if form[0].strip(".") else 1 for file, form in forms.items()}
    while True:
        ids = {file: forms[file][level[file]] for file in forms}
        uses = Counter(map(str.casefold, ids.values()))
        unclear = [file for file in forms if uses[ids[file].casefold()] > 1 and level[file] < 2]
        if not unclear:
            return ids
        for file in unclear:
            level[file] += 1


def _forms(path: PurePosixPath) -> list[str]:
    return [path.stem, path.name, quote(str(path), safe=" ()+,=@", errors="surrogateescape")]


def _shortened(form: str, file: str) -> str:
    data = form.encode("utf-8", "surrogateescape")
    if len(data) <= LONGEST_ID:
        return form
    told = hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{data[: LONGEST_ID - 17].decode('utf-8', 'ignore')}~{told}"
