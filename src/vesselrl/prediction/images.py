"""Images without labels, by their ids."""

from collections.abc import Callable, Mapping
from typing import Any

from vesselrl.annotations.writing import ImageMaker


def image_loaders(
    images: Mapping[str, Callable[[], bytes]],
    entries: Any,
    file_names: Mapping[str, Any],
    max_pixels: int,
) -> dict[str, ImageMaker]:
    """Loaders of accepted images in the project's form, uint8 (H, W) or (H, W, 3).

    Args:
        images: file name → loader of the file's bytes.
        entries: a table with the columns ``id``, ``file`` and ``frame``.
        file_names: what the pseudonyms of files stand for.
        max_pixels: larger images are refused.
    """
    original = file_names.get("files", {})
    return {
        row.id: ImageMaker(
            row.id, images, original.get(row.file, row.file), row.frame or None, max_pixels
        )
        for row in entries.itertuples()
    }
