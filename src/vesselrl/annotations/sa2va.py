"""Our masks in the form from which Sa2VA's official code fine-tunes a model.

``annotations.json`` beside ``images/``: a list of ``{"image": name, "mask": [[[x, y, x, y, …], …]],
"text": ["phrase"]}``, with a list of polygons for each phrase. That code fills polygons as
pycocotools does, by the pixels whose centres are inside, and adds them up: they must not overlap,
and one through the centres of the outermost pixels, as PIL fills it, would lose these.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.polygons import polygonise, rasterise

Mask = npt.NDArray[np.bool_]
Point = tuple[int, int]

TOP, RIGHT, BOTTOM, LEFT = (1, 0), (0, 1), (-1, 0), (0, -1)
"""Walking along each side of a pixel with the pixel on the right hand: (dx, dy)."""


def training_entry(image: str, mask: Mask, phrase: str) -> dict[str, Any]:
    """One entry of ``annotations.json``.

    Args:
        image: the file's name.
        mask: bool (H, W), not empty: the official code takes no image without an object.
        phrase: what the mask shows.
    """
    return {"image": image, "mask": [outlines(mask)], "text": [phrase]}


def outlines(mask: Mask) -> list[list[int]]:
    """Polygons along the sides of pixels that give a mask back when pycocotools fills them.

    Args:
        mask: bool (H, W).

    Returns:
        Flat integer polygons [x, y, x, y, …], x from 0 to W, y from 0 to H, without holes, none
        overlapping another.
    """
    # These pieces are disjoint and have no holes.
    return [_outline(rasterise([piece], *mask.shape)) for piece in polygonise(mask)]


def _outline(piece: Mask) -> list[int]:
    """The corners around an 8-connected piece without holes, clockwise, flat.

    Where two of its pixels touch at a corner alone, the walk goes on around the other one: so it
    comes around all of them.
    """
    ways = _sides(piece)
    start = here = next(iter(ways))
    direction = min(ways[start])
    corners: list[Point] = []
    while ways[here]:
        left = (direction[1], -direction[0])
        onward = left if left in ways[here] else min(ways[here])
        ways[here].remove(onward)
        if onward != direction or here == start:
            corners.append(here)
        direction = onward
        here = (here[0] + onward[0], here[1] + onward[1])
    return [coordinate for corner in corners for coordinate in corner]


def _sides(piece: Mask) -> dict[Point, set[Point]]:
    """Corner (x, y) → the directions in which sides between inside and outside leave it."""
    padded = np.pad(piece, 1)
    inside = padded[1:-1, 1:-1]
    above, below = padded[:-2, 1:-1], padded[2:, 1:-1]
    before, behind = padded[1:-1, :-2], padded[1:-1, 2:]
    ways: dict[Point, set[Point]] = {}
    for direction, outside, (dx, dy) in (
        (TOP, above, (0, 0)),
        (RIGHT, behind, (1, 0)),
        (BOTTOM, below, (1, 1)),
        (LEFT, before, (0, 1)),
    ):
        rows, columns = np.nonzero(inside & ~outside)
        for x, y in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            ways.setdefault((x, y), set()).add(direction)
    return ways
