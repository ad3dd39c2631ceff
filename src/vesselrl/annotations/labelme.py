"""LabelMe: one JSON file an image, with ``shapes``, ``imagePath``, ``imageWidth/Height``.

An image embedded as ``imageData`` is ignored: the file in ``images/`` is what counts. A file with
the flag `UNCHECKED`, which predictions are written with, is refused until somebody unticks it.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, TypeGuard

from vesselrl.annotations.entries import describe, refused
from vesselrl.annotations.json_files import read_json
from vesselrl.errors import VesselrlError

UNCHECKED = "unchecked prediction"
"""The flag of a file that a model has drawn and nobody has corrected yet."""

_FOLDERS = ("annotations", "images", "")  # where the files may be, the data folder itself last
_OTHER_FILES = ("annotations.json", "groups.json", "splits.json")
_MOST_TRIED = 20
_KINDS = "expected shapes of the kinds polygon, rectangle or circle"
_SAGITTA = 0.1  # a circle's polygon is nowhere further from it, in pixels


def labelme_files(raw_dir: Path, max_mb: float) -> list[tuple[Path, str]]:
    """LabelMe's files, in order, each with the folder of its image relative to ``images/``.

    They are in ``annotations/`` or beside the images, at any depth, or in the data folder itself.
    Files of the first of these places that has any with ``shapes`` are taken, all of them.
    """
    for name in _FOLDERS:
        folder = raw_dir / name
        found = folder.rglob("*.json") if name else folder.glob("*.json")
        files = [path for path in sorted(found) if not path.name.startswith(".")]
        if not name:
            files = [path for path in files if path.name not in _OTHER_FILES]
        if any(_has_shapes(path, max_mb) for path in files[:_MOST_TRIED]):
            return [(path, path.parent.relative_to(folder).as_posix()) for path in files]
    return []


def entries_of_labelme(files: list[tuple[Path, str]], max_mb: float) -> Iterator[dict[str, Any]]:
    """One entry a file, whatever it holds.

    Args:
        files: each with the folder of its image relative to ``images/``.
        max_mb: larger files are refused.
    """
    for path, folder in files:
        try:
            if path.is_symlink():
                raise VesselrlError("a link: copy the file itself")
            document = read_json(path, max_mb)
        except VesselrlError as error:
            problem = str(error).replace(str(path), "the file").rstrip(".")
            yield refused(path.name, "", problem, "save it from LabelMe again")
            continue
        entry = _entry(document, path.name, folder)
        if _is_unchecked(document):
            hint = f"correct it in LabelMe, and untick the flag '{UNCHECKED}'"
            reason = "a prediction that nobody has checked"
            entry = refused(entry["image"], "flags", reason, hint)
        yield entry


def _has_shapes(path: Path, max_mb: float) -> bool:
    try:
        document = None if path.is_symlink() else read_json(path, max_mb)
    except VesselrlError:
        return False
    return isinstance(document, dict) and "shapes" in document


def _is_unchecked(document: Any) -> bool:
    flags = document.get("flags") if isinstance(document, dict) else None
    return isinstance(flags, dict) and bool(flags.get(UNCHECKED))


def _entry(document: Any, name: str, folder: str) -> dict[str, Any]:
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        reason = "no list 'shapes'" if isinstance(document, dict) else describe(document)
        return refused(name, "shapes", reason, "expected an annotation file of LabelMe")
    path = document.get("imagePath")
    if not isinstance(path, str) or not path.strip():
        return refused(name, "imagePath", f"found {describe(path)}", "expected the image's name")
    # Only the name: the path led to the image on the computer where it was annotated.
    file = PureWindowsPath(path).name
    file = file if folder == "." else f"{folder}/{file}"
    polygons, labels = [], []
    for number, shape in enumerate(document["shapes"]):
        field = f"shapes[{number}]"
        if not isinstance(shape, dict):
            return refused(file, field, f"found {describe(shape)}", "expected an object")
        points = shape.get("points")
        if not _are_points(points):
            hint = "expected points [[x, y], …] of finite numbers"
            return refused(file, f"{field}.points", "no list of points", hint)
        kind = shape.get("shape_type", "polygon")
        try:
            polygons.append(_polygon(kind, points))
        except ValueError as error:
            return refused(file, f"{field}.shape_type", str(error), _KINDS)
        if isinstance(label := shape.get("label"), str):
            labels.append(label)
    entry: dict[str, Any] = {
        "image": file,
        "mask": polygons,
        "text": "; ".join(dict.fromkeys(labels)),
    }
    size = [document.get("imageWidth"), document.get("imageHeight")]
    if size != [None, None]:
        entry["stated_size"] = size
    return entry


def _are_points(points: Any) -> TypeGuard[list[list[float]]]:
    return isinstance(points, list) and all(
        isinstance(point, list)
        and len(point) == 2
        and all(
            type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value)
            for value in point
        )
        for point in points
    )


def _polygon(kind: Any, points: list[list[float]]) -> list[float]:
    """The polygon of a shape; a ValueError if it has none."""
    if kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        return [x1, y1, x2, y1, x2, y2, x1, y2]
    if kind == "circle":
        if len(points) != 2:
            raise ValueError(f"a circle of {len(points)} points instead of centre and border")
        return _circle(points[0], math.dist(*points))
    if kind in ("polygon", "rectangle"):
        return [value for point in points for value in point]
    if kind in ("line", "linestrip", "point", "points"):
        raise ValueError(f"a shape of the kind {kind} has no area")
    raise ValueError(f"the kind of a shape is {describe(kind)}")


def _circle(centre: list[float], radius: float) -> list[float]:
    corners = math.ceil(math.pi / math.acos(max(0.5, 1 - _SAGITTA / max(radius, 1e-6))))
    corners = min(max(corners, 12), 720)
    angles = [2 * math.pi * corner / corners for corner in range(corners)]
    return [
        coordinate
        for angle in angles
        for coordinate in (
            centre[0] + radius * math.cos(angle),
            centre[1] + radius * math.sin(angle),
        )
    ]


def labelme_document(
    image: str, polygons: Sequence[Sequence[int]], height: int, width: int, label: str
) -> dict[str, Any]:
    """A predicted mask as a file that LabelMe opens beside its image.

    Its flag `UNCHECKED` is set, which LabelMe shows as a box to untick: until somebody has, it is
    no label (`entries_of_labelme`).

    Args:
        image: the image's file name.
        polygons: of the mask, see `vesselrl.annotations.polygons`.
        height: of the image.
        width: of the image.
        label: what the mask shows.
    """
    return {
        "version": "5.0.0",
        "flags": {UNCHECKED: True},
        "shapes": [
            {
                "label": label,
                "points": [list(point) for point in zip(polygon[::2], polygon[1::2], strict=True)],
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for polygon in polygons
        ],
        "imagePath": image,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
