"""Polygons ↔ masks.

A polygon is a flat list ``[x1, y1, x2, y2, …]`` in pixel coordinates, filled as
``PIL.ImageDraw.polygon`` fills it: integer points are pixel centres, and the pixels on the outline
belong to the polygon.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

Mask = npt.NDArray[np.bool_]

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
_NORTH = (0, -1)


def rasterise(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """Fill polygons in order, each with 255, on a picture of zeros.

    Args:
        polygons: flat polygons of at least two points each; none at all is an empty mask.
        height: rows of the mask.
        width: columns of the mask.

    Returns:
        bool (height, width), True where a polygon was filled.

    Examples:
        >>> rasterise([[1, 0, 3, 0, 3, 1, 1, 1]], height=3, width=5).astype(int)
        array([[0, 1, 1, 1, 0],
               [0, 1, 1, 1, 0],
               [0, 0, 0, 0, 0]])
    """
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    for polygon in polygons:
        draw.polygon(list(polygon), fill=255)
    return np.asarray(picture) > 0


def polygonise(mask: Mask) -> list[list[int]]:
    """Write a mask as polygons that give it back.

    ``rasterise(polygonise(mask), *mask.shape)`` equals the mask, pixel for pixel. Every connected
    region is cut along rows until its pieces have no holes; a piece becomes the contour through
    the centres of its outermost pixels. A piece whose contour would not be filled exactly is cut
    further; this ends at single runs of pixels, which always are.

    Args:
        mask: bool (H, W).

    Returns:
        Flat integer polygons of at least three points, each without a hole; in a region of one or
        two pixels points repeat.

    Examples:
        >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
        >>> polygonise(ring)
        [[0, 0, 2, 0, 2, 1, 1, 0, 0, 1], [0, 2, 2, 2, 2, 2]]
    """
    polygons = []
    for piece, left, top in _connected_regions(mask):
        for polygon in _polygons_of_region(piece):
            polygon[0::2] = [x + left for x in polygon[0::2]]
            polygon[1::2] = [y + top for y in polygon[1::2]]
            polygons.append(polygon)
    return polygons


def _connected_regions(mask: Mask) -> Iterator[tuple[Mask, int, int]]:
    """Each 8-connected region, cropped to its bounding box, with the box's left and top."""
    labels, _ = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        yield labels[box] == label, box[1].start, box[0].start


def _polygons_of_region(region: Mask) -> list[list[int]]:
    """Polygons of an 8-connected region that fills its array from border to border."""
    framed = np.zeros((region.shape[0] + 2, region.shape[1] + 2), bool)  # np.pad takes far longer
    framed[1:-1, 1:-1] = region
    background, _ = ndimage.label(~framed)
    _around, *holes = ndimage.find_objects(background)
    if not holes:
        polygon = _contour(framed)
        if np.array_equal(rasterise([polygon], *region.shape), region):
            return [polygon]
        below = region.shape[0] // 2
    else:
        # counted from the frame: as many rows of the region are above the cut
        below = _row_of_most_holes([rows for rows, _columns in holes])
    upper, lower = polygonise(region[:below]), polygonise(region[below:])
    for polygon in lower:
        polygon[1::2] = [y + below for y in polygon[1::2]]
    return upper + lower


def _row_of_most_holes(holes: Sequence[slice]) -> int:
    """The row, of those that the holes take, on which a cut opens the most of them.

    A cut just below a row opens each hole on it.
    """
    opened = np.zeros(max(rows.stop for rows in holes) + 1, dtype=int)
    for rows in holes:
        opened[rows.start] += 1
        opened[rows.stop] -= 1
    return int(np.argmax(np.cumsum(opened)))


def _contour(framed: Mask) -> list[int]:
    """The outer contour of an 8-connected region through pixel centres, corners only.

    Walks clockwise around the region along the sides of its pixels, the region on the right hand,
    and notes the pixel at the right hand wherever it changes.

    Args:
        framed: the region in a frame of one pixel, which the contour's coordinates do not count.
    """
    inside = framed.tolist()  # nested lists: several times quicker to index one by one
    start = (int(np.argmax(framed[1])), 1)
    pixel, outward = start, _NORTH
    path = [start]
    while True:
        (x, y), (ox, oy) = pixel, outward
        fx, fy = -oy, ox  # walking with the region on the right, `outward` is on the left
        if inside[y + fy + oy][x + fx + ox]:  # the pixel ahead on the left: turn left
            pixel, outward = (x + fx + ox, y + fy + oy), (-fx, -fy)
        elif inside[y + fy][x + fx]:  # straight on
            pixel = (x + fx, y + fy)
        else:  # turn right, around the same pixel
            outward = (fx, fy)
        if (pixel, outward) == (start, _NORTH):
            break
        if pixel != path[-1]:
            path.append(pixel)
    return _corners(path)


def _corners(path: list[tuple[int, int]]) -> list[int]:
    """Keep the points where the direction changes; shifted by the frame, flat, ≥ 3 points."""
    if len(path) > 1 and path[-1] == path[0]:
        path = path[:-1]
    kept = []
    for before, here, after in zip([path[-1], *path[:-1]], path, [*path[1:], path[0]], strict=True):
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1]):
            kept.append(here)
    kept = kept or path
    kept += [kept[-1]] * (3 - len(kept))
    return [coordinate - 1 for point in kept for coordinate in point]
