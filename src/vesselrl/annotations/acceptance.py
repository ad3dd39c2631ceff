"""From an entry and its image to an accepted entry, and ids for all of them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from vesselrl.annotations import folder
from vesselrl.annotations.entries import (
    Refusal,
    check_against_size,
    describe,
    overhangs,
    printable,
    read_entry,
)
from vesselrl.annotations.pictures import decode
from vesselrl.annotations.polygons import rasterise


def accept(
    raw: Any,
    images: Mapping[str, Callable[[], bytes]],
    taken: Mapping[str, int],
    max_pixels: int,
) -> dict[str, Any]:
    """Check one entry together with its image.

    Args:
        raw: what the annotations hold, anything that JSON can.
        images: file name → loader of the file's bytes.
        taken: file → number of the entry that has it already.
        max_pixels: larger images are refused.

    Returns:
        ``file``, ``width``, ``height``, ``sha256`` of the file, ``vessel_fraction`` of the mask's
        pixels, ``clipped`` (whether a polygon reaches over the border), ``text``, ``polygons``
        (flat).

    Raises:
        Refusal: the entry cannot be used.
    """
    entry = read_entry(raw)
    file = folder.normalised(entry.file)
    if file in taken:
        raise Refusal(
            "image",
            f"a duplicate: entry {taken[file]} is about this image already",
            "keep one entry an image; put all of its polygons there",
        )
    data = folder.read(images, file)
    height, width = decode(data, max_pixels).shape[:2]
    check_against_size(entry, width, height)
    mask = rasterise(entry.polygons, height, width)
    return {
        "file": file,
        "width": width,
        "height": height,
        "sha256": hashlib.sha256(data).hexdigest(),
        "vessel_fraction": round(float(mask.mean()), 6),
        "clipped": overhangs(entry, width, height),
        "text": entry.text,
        "polygons": entry.polygons,
    }


def name_of(raw: Any) -> str:
    """The image that an entry is about, as far as it tells; for people to find it by."""
    file = raw.get("image") if isinstance(raw, dict) else None
    return printable(file) if isinstance(file, str) else "" if file is None else describe(file)


def sample_ids(files: Iterable[str]) -> dict[str, str]:
    """File → id, each id once and fit for a file name.

    The id is the file's stem; files of equal stems get the suffix as well, and files of equal names
    in different folders their whole path.

    >>> sample_ids(["a.png", "b.png", "b.jpg"])
    {'a.png': 'a', 'b.png': 'b.png', 'b.jpg': 'b.jpg'}
    >>> sample_ids(["x/c.png", "y/c.png"])
    {'x/c.png': 'x%2Fc.png', 'y/c.png': 'y%2Fc.png'}
    """
    forms = {
        file: [PurePosixPath(file).stem, PurePosixPath(file).name, quote(file, safe=" ()+,=@")]
        for file in files
    }
    # A stem of dots alone would be a folder's name.
    level = {file: 0 if form[0].strip(".") else 1 for file, form in forms.items()}
    while True:
        ids = {file: forms[file][level[file]] for file in forms}
        uses = Counter(ids.values())
        unclear = [file for file in forms if uses[ids[file]] > 1 and level[file] < 2]
        if not unclear:
            return ids
        for file in unclear:
            level[file] += 1
