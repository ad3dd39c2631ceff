"""COCO: one JSON object with ``images``, ``annotations`` and ``categories``."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from vesselrl.annotations.entries import describe, refused
from vesselrl.annotations.polygons import Mask
from vesselrl.annotations.rle import encode_rle


def is_coco(document: Any) -> bool:
    """Whether JSON has the form of COCO."""
    return isinstance(document, dict) and all(
        isinstance(document.get(name), list) for name in ("images", "annotations")
    )


def entries_of_coco(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One entry an image, in the order of ``images``, then one for each annotation of no image.

    The segmentations of all annotations of an image make up its mask: lists of polygons, and
    run-length encoded masks (`vesselrl.annotations.rle`). An image without annotations has an empty
    mask. Coordinates refer to the ``width`` and ``height`` of the image, where it states them.

    Args:
        document: an object with the lists ``images`` and ``annotations``.
    """
    names = _category_names(document.get("categories"))
    known = {_key(image.get("id")) for image in document["images"] if isinstance(image, dict)}
    of_image: dict[str, list[dict[str, Any]]] = {}
    strays = []
    for number, annotation in enumerate(document["annotations"]):
        field = f"annotations[{number}]"
        if not isinstance(annotation, dict):
            reason = f"found {describe(annotation)}"
            strays.append(refused("", field, reason, "expected an object with 'image_id'"))
        elif (key := _key(annotation.get("image_id"))) not in known:
            reason = f"no image has the id {describe(annotation.get('image_id'))}"
            strays.append(refused("", f"{field}.image_id", reason, "add the image to 'images'"))
        else:
            of_image.setdefault(key, []).append(annotation)
    seen: set[str] = set()
    for number, image in enumerate(document["images"]):
        field = f"images[{number}]"
        if not isinstance(image, dict):
            yield refused("", field, f"found {describe(image)}", "expected an object")
            continue
        key = _key(image.get("id"))
        file = image.get("file_name")
        if "id" not in image or key in seen:
            reason = "the id is missing" if "id" not in image else "a duplicate id"
            yield refused(file, f"{field}.id", reason, "expected an id for each image, once")
            continue
        seen.add(key)
        yield _entry(file, image, of_image.get(key, []), names)
    yield from strays


def _entry(
    file: Any, image: dict[str, Any], annotations: list[dict[str, Any]], names: dict[str, str]
) -> dict[str, Any]:
    mask = []
    for annotation in annotations:
        if annotation.get("segmentation") in (None, []):
            return refused(
                file, "annotations", "an annotation has no 'segmentation'",
                "expected polygons or a run-length encoded mask; a box alone is no mask",
            )  # fmt: skip
        mask.append(annotation["segmentation"])
    labels = [names.get(_key(annotation.get("category_id")), "") for annotation in annotations]
    entry = {"image": file, "mask": mask, "text": "; ".join(filter(None, dict.fromkeys(labels)))}
    if image.get("width") is not None or image.get("height") is not None:
        entry["stated_size"] = [image.get("width"), image.get("height")]
    return entry


def _category_names(categories: Any) -> dict[str, str]:
    return {
        _key(category.get("id")): category["name"]
        for category in (categories if isinstance(categories, list) else [])
        if isinstance(category, dict) and isinstance(category.get("name"), str)
    }


def _key(value: Any) -> str:
    """An id as something to look up, whatever JSON holds in its place."""
    return repr(value)


def coco_header(images: Iterable[tuple[str, int, int]], label: str) -> dict[str, Any]:
    """What stands before the annotations: ``images``, numbered from 1, and the one category.

    Args:
        images: file, width and height of each.
        label: what masks show.
    """
    return {
        "images": [
            {"id": number, "file_name": file, "width": width, "height": height}
            for number, (file, width, height) in enumerate(images, 1)
        ],
        "categories": [{"id": 1, "name": label}],
    }


def coco_annotation(number: int, mask: Mask) -> dict[str, Any]:
    """The annotation of one image: its whole mask, run-length encoded, which is exact.

    Args:
        number: of the image, and so of the annotation.
        mask: bool (H, W).
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = [0, 0, 0, 0]
    if rows.size:
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
    return {
        "id": number, "image_id": number, "category_id": 1, "iscrowd": 1, "bbox": box,
        "area": int(np.count_nonzero(mask)), "segmentation": encode_rle(mask),
    }  # fmt: skip
