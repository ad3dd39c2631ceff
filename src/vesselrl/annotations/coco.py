"""COCO: one JSON object with ``images``, ``annotations`` and ``categories``."""

from collections.abc import Iterator
from typing import Any

from vesselrl.annotations.entries import describe, refused


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
        document: see `is_coco`.
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
