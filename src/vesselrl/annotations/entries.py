"""Entries of annotations: from whatever JSON holds to checked polygons.

An entry is ``{"image": "x.png", "mask": …}``. Its mask is *flat*, ``[[x1, y1, x2, y2, …], …]``, or
*nested per object*, ``[[[x1, y1, …], …], …]``, with ``text``, one phrase per object. Which of the
two is told from the content of each entry. In place of an object there may be a run-length encoded
mask (`vesselrl.annotations.rle`), and so in place of all. A mask of ``null`` says that nobody
labelled the image; ``[]`` says that it shows no vessel. Further fields, none of which must be
there: ``stated_size``, width and height of the image that the coordinates refer to, if its file may
have another size; ``mask_file`` instead of ``mask``, the name of a file in ``masks/``; ``frame`` of
an image file of several, from 1. Every other format is read as such entries.
Coordinates refer to the image as it is displayed, that is with its EXIF orientation applied.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from vesselrl.annotations.rle import read_rle

PROPORTIONS = 0.02  # width to height of a stated size may differ by this from the image's

Extent = tuple[float, float, float, float]

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OTHER_NAMES = {
    "image": ("image_path", "imagePath", "image_name", "file_name", "filename", "file", "img"),
    "mask": ("masks", "polygons", "polygon", "segmentation", "segments", "shapes", "annotation"),
}


class Refusal(Exception):  # noqa: N818 - not an error of the program: a finding about the data
    """Why an entry cannot be used.

    Attributes:
        field: where in the entry, such as ``mask[3]``; empty for the entry as a whole.
        reason: what was found.
        hint: what was expected, or what to do.
    """

    def __init__(self, field: str, reason: str, hint: str) -> None:
        super().__init__(field, reason, hint)
        self.field = field
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Entry:
    """One image and its annotation, in pixel coordinates, as the source states them."""

    file: str
    polygons: list[list[float]]
    text: str
    rles: list[dict[str, Any]] = field(default_factory=list)
    mask_file: str = ""
    frame: int | None = None
    stated_size: tuple[int, int] | None = None  # width, height
    labelled: bool = True

    @cached_property
    def extents(self) -> list[Extent]:
        """The least x and y and the greatest x and y of each polygon."""
        return [
            (min(xs), min(ys), max(xs), max(ys))
            for polygon in self.polygons
            for xs, ys in [(polygon[0::2], polygon[1::2])]
        ]

    @property
    def extent(self) -> Extent:
        """The extent of all polygons, of which there is at least one."""
        lefts, tops, rights, bottoms = zip(*self.extents, strict=True)
        return min(lefts), min(tops), max(rights), max(bottoms)


def read_entry(raw: Any) -> Entry:
    """Check everything about an entry that can be told without its image.

    Args:
        raw: anything that JSON can hold.

    Raises:
        Refusal: the entry is not an object, a field is missing or has another name, or a polygon
            has an odd number of coordinates, fewer than three points, or what is no number.
    """
    if not isinstance(raw, dict):
        raise Refusal(
            "", f"the entry is {describe(raw)}", 'expected an object {"image": …, "mask": …}'
        )
    if _is_refused(raw):
        raise Refusal(*raw["refused"])
    file = _file_name("image", _value(raw, "image"), "images")
    frame = raw.get("frame")
    if frame is not None and not _is_count(frame):
        raise Refusal("frame", f"found {describe(frame)}", "expected the frame's number, from 1")
    if "mask_file" in raw and "mask" not in raw:
        name = _file_name("mask_file", raw["mask_file"], "masks")
        return Entry(file, [], _text(raw, []), mask_file=name, frame=frame)
    mask = _value(raw, "mask")
    if mask is None:
        return Entry(file, [], _text(raw, []), frame=frame, labelled=False)
    polygons, rles = [], []
    for where, part in _parts(mask, raw):
        if isinstance(part, dict):
            try:
                rles.append(read_rle(part))
            except ValueError as error:
                hint = 'expected {"size": [height, width], "counts": …} as COCO writes it'
                raise Refusal(where, str(error), hint) from None
        else:
            _check_polygon(where, part)
            polygons.append(part)
    text = _text(raw, mask if isinstance(mask, list) else [])
    return Entry(file, polygons, text, rles, frame=frame, stated_size=_stated_size(raw))


def refused(file: Any, where: str, reason: str, hint: str) -> dict[str, Any]:
    """An entry that `read_entry` refuses, for what a reader of another format finds."""
    return {"image": file, "refused": [where, reason, hint]}


def scaled_to(entry: Entry, width: int, height: int) -> Entry:
    """Bring the polygons from the size that the source states to that of the image.

    Raises:
        Refusal: the sizes have other proportions.
    """
    for rle in entry.rles:
        _check_proportions((rle["size"][1], rle["size"][0]), width, height)
    if entry.stated_size in (None, (width, height)):
        return entry
    _check_proportions(entry.stated_size, width, height)
    across, down = width / entry.stated_size[0], height / entry.stated_size[1]
    polygons = [
        [value * (down if place % 2 else across) for place, value in enumerate(polygon)]
        for polygon in entry.polygons
    ]
    return replace(entry, polygons=polygons)


def _check_proportions(size: tuple[int, int], width: int, height: int) -> None:
    ratio = size[0] * height / (size[1] * width)
    if not 1 - PROPORTIONS <= ratio <= 1 + PROPORTIONS:
        raise Refusal(
            "mask",
            f"the annotation is for an image of {size[0]} × {size[1]} pixels; this has "
            f"{width} × {height}, other proportions",
            "use the image that was annotated; the file may have been turned or cropped",
        )


def describe(value: Any) -> str:  # noqa: PLR0911 - one a kind of value
    """A value in a few words, fit for one line of text.

    >>> describe([1, 2]), describe("abc"), describe(None)
    ('a list', 'the text "abc"', 'null')
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'the text "{printable(value)[:60]}"'
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        case int() if abs(value) >= 10**15:
            return "an integer of 16 digits or more"
        case int() | float():
            return f"the number {value:g}"
        case list():
            return "a list" if value else "an empty list"
    return "an object"


def is_printable(text: str) -> bool:
    """Whether a text is one line that any file or terminal can hold as it is."""
    return not _UNPRINTABLE.search(text)


def printable(text: str) -> str:
    """Text that is: control characters and lone surrogates become question marks."""
    return _UNPRINTABLE.sub("?", text)


def _file_name(field: str, name: Any, folder: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise Refusal(field, f"found {describe(name)}", f"expected the name of a file in {folder}/")
    if not is_printable(name):
        raise Refusal(
            field,
            "the file's name holds a line break or another control character, or is not UTF-8",
            "rename the file",
        )
    return name


def _value(raw: dict[str, Any], field: str) -> Any:
    if field in raw:
        return raw[field]
    found = next((name for name in _OTHER_NAMES[field] if name in raw), None)
    if found:
        raise Refusal(
            field, f"the field is named '{found}'", f"expected '{field}': rename '{found}'"
        )
    names = ", ".join(printable(str(name))[:40] for name in list(raw)[:8]) or "none"
    raise Refusal(field, f"the field '{field}' is missing; found: {names}", f"add '{field}'")


def _is_refused(raw: dict[str, Any]) -> bool:
    finding = raw.get("refused")
    return (
        isinstance(finding, list)
        and len(finding) == 3
        and all(isinstance(part, str) for part in finding)
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _stated_size(raw: dict[str, Any]) -> tuple[int, int] | None:
    size = raw.get("stated_size")
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        found = (
            [describe(part) for part in size[:2]] if isinstance(size, list) else [describe(size)]
        )
        raise Refusal(
            "stated_size",
            f"the size of the image is {' × '.join(found)}",
            "expected width and height in pixels, or neither",
        )
    return size[0], size[1]


def _is_nested(mask: list[Any], raw: dict[str, Any]) -> bool:
    """Whether the items of a mask are objects (lists of polygons) rather than polygons."""
    if any(isinstance(item, list) and list in map(type, item) for item in mask):
        return True
    # [[]] alone could be a polygon without points; beside one phrase it is an object not visible.
    phrases = raw.get("text")
    return not any(mask) and isinstance(phrases, list) and len(phrases) == len(mask)


def _parts(mask: Any, raw: dict[str, Any]) -> Iterator[tuple[str, list[Any] | dict[str, Any]]]:
    """Name and content of every polygon, or run-length encoded mask, of a mask in any form."""
    expected = "expected a list of polygons [[x1, y1, x2, y2, …], …]"
    if isinstance(mask, dict):
        yield "mask", mask
        return
    if not isinstance(mask, list):
        raise Refusal("mask", f"found {describe(mask)}", expected)
    for number, item in enumerate(mask):
        if not isinstance(item, list | dict):
            hint = "put the polygon in one more pair of brackets: " if number == 0 else ""
            raise Refusal(f"mask[{number}]", f"found {describe(item)}", hint + expected)
    if not _is_nested(mask, raw):
        yield from ((f"mask[{number}]", polygon) for number, polygon in enumerate(mask))
        return
    for number, item in enumerate(mask):
        if isinstance(item, dict):
            yield f"mask[{number}]", item
            continue
        for part, polygon in enumerate(item):
            where = f"mask[{number}][{part}]"
            if not isinstance(polygon, list):
                raise Refusal(
                    where, f"found {describe(polygon)} among polygons of an object", expected
                )
            if any(isinstance(value, list) for value in polygon):
                raise Refusal(where, "lists are nested deeper than object, polygon", expected)
            if len(polygon) == 2 and len(item) > 2:
                raise Refusal(
                    f"mask[{number}]",
                    "points are written as pairs [x, y]",
                    "expected flat polygons [x1, y1, x2, y2, …]: remove the inner brackets",
                )
            yield where, polygon


def _check_polygon(where: str, polygon: list[Any]) -> None:
    for position, value in enumerate([] if _are_ordinary(polygon) else polygon):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or abs(value) >= 1e15 or math.isnan(value):
            raise Refusal(
                f"{where}[{position}]",
                f"a coordinate is {describe(value)}",
                "expected a finite number of pixels",
            )
    if len(polygon) % 2:
        raise Refusal(
            where,
            f"an odd number of coordinates ({len(polygon)})",
            "expected pairs x1, y1, x2, y2, …: one is missing or too many",
        )
    if len(polygon) < 6:
        raise Refusal(
            where,
            f"fewer than 3 points ({len(polygon) // 2})",
            "remove the polygon, or repeat points if the region is that small",
        )


def _are_ordinary(values: list[Any]) -> bool:
    """Whether all are finite numbers of usual size: several times quicker than one by one."""
    try:
        return set(map(type, values)) <= {int, float} and math.fsum(map(abs, values)) < 1e15
    except OverflowError:
        return False


def _text(raw: dict[str, Any], mask: list[Any]) -> str:
    """The phrases of an entry, joined by semicolons; empty without any."""
    text = raw.get("text")
    phrases = [] if text is None else [text] if isinstance(text, str) else text
    if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
        raise Refusal("text", f"found {describe(text)}", "expected a list of one phrase per object")
    if isinstance(text, list) and mask and _is_nested(mask, raw) and len(phrases) != len(mask):
        raise Refusal(
            "text",
            f"{len(phrases)} phrases for {len(mask)} objects",
            "expected one phrase per object",
        )
    return printable("; ".join(" ".join(phrase.split()) for phrase in phrases))
