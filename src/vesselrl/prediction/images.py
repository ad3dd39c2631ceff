"""Images without labels, by their ids."""

from collections.abc import Callable, Mapping
from typing import Any

from vesselrl.annotations.writing import ImageMaker
from vesselrl.prediction.frames import FrameFolder, Frames


def image_loaders(
    images: Mapping[str, Callable[[], bytes]],
    frames: Frames,
    entries: Any,
    file_names: Mapping[str, Any],
    max_pixels: int,
) -> dict[str, ImageMaker]:
    """Loaders of accepted images in the project's form, uint8 (H, W) or (H, W, 3).

    Args:
        images: file name → loader of the file's bytes.
        frames: name → the frame of a series that it stands for; others are missing.
        entries: a table with the columns ``id``, ``file`` and ``frame``.
        file_names: what the pseudonyms of files stand for.
        max_pixels: larger images are refused.
    """
    original = file_names.get("files", {})
    loaders = {}
    for row in entries.itertuples():
        name = original.get(row.file, row.file)
        # Its own frame alone: loaders are sent to other processes.
        folder = FrameFolder(images, {name: frames[name]} if name in frames else {}, max_pixels)
        loaders[row.id] = ImageMaker(row.id, folder, name, row.frame or None, max_pixels)
    return loaders
