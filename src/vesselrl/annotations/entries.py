"""Entries of ``annotations.json``: from whatever JSON holds to checked polygons.

An entry is ``{"image": "x.png", "mask": …}``. Its mask is *flat*, ``[[x1, y1, x2, y2, …], …]``, or
*nested per object*, ``[[[x1, y1, …], …], …]``, with ``text``, one phrase per object. Which of the
two is told from the content of each entry.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

OVERHANG = 0.05  # polygons may reach beyond the border by this share of the longer side; clipped

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
        super().__init__(reason)
        self.field = field
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True)
class Entry:
    """One image and its polygons, in pixel coordinates, as the source states them."""

    file: str
    polygons: list[list[float]]
    text: str

    @property
    def points(self) -> tuple[list[float], list[float]]:
        """All x and all y."""
        xs = [x for polygon in self.polygons for x in polygon[0::2]]
        ys = [y for polygon in self.polygons for y in polygon[1::2]]
        return xs, ys


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
    file = _value(raw, "image")
    if not isinstance(file, str) or not file.strip():
        raise Refusal("image", f"found {describe(file)}", "expected the name of a file in images/")
    mask = _value(raw, "mask")
    polygons = [list(_checked(field, polygon)) for field, polygon in _polygons(mask, raw)]
    return Entry(file, polygons, _text(raw, mask))


def check_against_size(entry: Entry, width: int, height: int) -> None:
    """Check that the polygons belong to an image of this size.

    Points may lie a little outside (`OVERHANG`): they are clipped.

    Raises:
        Refusal: a polygon lies wholly outside, or the coordinates fit only another image size.
    """
    if not entry.polygons:
        return
    xs, ys = entry.points
    reach = OVERHANG * max(width, height)
    beyond = min(*xs, *ys) < -reach or max(xs) > width - 1 + reach or max(ys) > height - 1 + reach
    extent = f"coordinates span x {min(xs):g} to {max(xs):g} and y {min(ys):g} to {max(ys):g}"
    if beyond and min(*xs, *ys) >= -reach:
        extent += (
            f", which fits only an image of at least {math.ceil(max(xs)) + 1} × "
            f"{math.ceil(max(ys)) + 1} pixels"
        )
    hint = "use the image that the polygons were drawn on, or scale them to this one"
    for number, polygon in enumerate(entry.polygons):
        px, py = polygon[0::2], polygon[1::2]
        if max(px) < -0.5 or max(py) < -0.5 or min(px) > width - 0.5 or min(py) > height - 0.5:
            raise Refusal(
                "mask",
                f"polygon {number} lies wholly outside the image of {width} × {height} pixels; "
                + extent,
                hint,
            )
    if beyond:
        raise Refusal("mask", f"{extent}; the image has {width} × {height}", hint)


def overhangs(entry: Entry, width: int, height: int) -> bool:
    """Whether any point lies outside the image, so that its polygon is clipped."""
    xs, ys = entry.points
    return any(not -0.5 <= x <= width for x in xs) or any(not -0.5 <= y <= height for y in ys)


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


def printable(text: str) -> str:
    """Text that any file or terminal can hold: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


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


def _is_nested(mask: list[Any], raw: dict[str, Any]) -> bool:
    """Whether the items of a mask are objects (lists of polygons) rather than polygons."""
    if any(isinstance(part, list) for item in mask for part in item):
        return True
    # [[]] alone could be a polygon without points; beside one phrase it is an object not visible.
    phrases = raw.get("text")
    return not any(mask) and isinstance(phrases, list) and len(phrases) == len(mask)


def _polygons(mask: Any, raw: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Name and content of every polygon of a mask in either form."""
    expected = "expected a list of polygons [[x1, y1, x2, y2, …], …]"
    if not isinstance(mask, list):
        raise Refusal("mask", f"found {describe(mask)}", expected)
    for number, item in enumerate(mask):
        if not isinstance(item, list):
            hint = "put the polygon in one more pair of brackets: " if number == 0 else ""
            raise Refusal(f"mask[{number}]", f"found {describe(item)}", hint + expected)
    if not _is_nested(mask, raw):
        yield from ((f"mask[{number}]", polygon) for number, polygon in enumerate(mask))
        return
    for number, item in enumerate(mask):
        for part, polygon in enumerate(item):
            field = f"mask[{number}][{part}]"
            if not isinstance(polygon, list):
                raise Refusal(
                    field, f"found {describe(polygon)} among polygons of an object", expected
                )
            if any(isinstance(value, list) for value in polygon):
                raise Refusal(field, "lists are nested deeper than object, polygon", expected)
            if len(polygon) == 2 and len(item) > 2:
                raise Refusal(
                    f"mask[{number}]",
                    "points are written as pairs [x, y]",
                    "expected flat polygons [x1, y1, x2, y2, …]: remove the inner brackets",
                )
            yield field, polygon


def _checked(field: str, polygon: list[Any]) -> Iterator[float]:
    """The coordinates of a polygon, checked."""
    for position, value in enumerate(polygon):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or abs(value) >= 1e15 or math.isnan(value):
            raise Refusal(
                f"{field}[{position}]",
                f"a coordinate is {describe(value)}",
                "expected a finite number of pixels",
            )
    if len(polygon) % 2:
        raise Refusal(
            field,
            f"an odd number of coordinates ({len(polygon)})",
            "expected pairs x1, y1, x2, y2, …: one is missing or too many",
        )
    if len(polygon) < 6:
        raise Refusal(
            field,
            f"fewer than 3 points ({len(polygon) // 2})",
            "remove the polygon, or repeat points if the region is that small",
        )
    yield from polygon


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
    return printable("; ".join(phrases))
