"""Somebody's finished masks: found under a path, matched to our images, checked and drawn.

Masks are known by the names that their maker gave the images. Those names end here: what comes out
has ids alone, and where names are replaced by pseudonyms, messages have none either.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vesselrl.annotations.acceptance import check_against_size
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import Refusal, read_entry
from vesselrl.annotations.folder import ImageFolder, normalised, read
from vesselrl.annotations.mask_files import decode_mask
from vesselrl.annotations.polygons import Mask
from vesselrl.annotations.sources import open_source
from vesselrl.errors import VesselrlError

logger = logging.getLogger(__name__)

ANNOTATIONS = "annotations.json"

Draw = Callable[[int, int, int], Mask]
"""Height, width and most pixels → bool (height, width); raises a `Refusal`."""
Files = Mapping[str, Callable[[], bytes]]


def open_results(path: Path) -> Iterator[tuple[str, Draw]]:
    """The masks under a path, each with the name its maker gave it; none if nothing is there.

    Args:
        path: a folder of mask files; or an ``annotations.json`` (a list of flat or nested polygons,
            or COCO; see `vesselrl.annotations.sources`), or the folder it is in.

    Raises:
        VesselrlError: the path is another file, or its JSON cannot be read.
    """
    folder = path.parent if path.name == ANNOTATIONS else path
    if (folder / ANNOTATIONS).is_file():
        source = open_source(folder)
        for raw in source:
            file = raw.get("image") if isinstance(raw, dict) else None
            yield str(file or ""), partial(_draw_entry, raw, source.masks)
    elif path.is_file():
        raise VesselrlError(
            f"{path} holds no finished masks: expected a folder of them, or a file {ANNOTATIONS}."
        )
    else:
        files = ImageFolder(folder, "mask_file")
        yield from ((name, partial(_draw_file, files, name)) for name in files)


def _draw_file(files: Files, name: str, height: int, width: int, max_pixels: int) -> Mask:
    mask = decode_mask(read(files, name, "mask_file", "the folder"), max_pixels, may_be_full=True)
    _check_size(mask.shape[:2], height, width)
    return mask


def _draw_entry(raw: Any, masks: Files, height: int, width: int, max_pixels: int) -> Mask:
    entry = read_entry(raw)
    if not entry.labelled:
        raise Refusal("mask", "found null", "expected a mask; [] is one that shows no vessel")
    for rows, columns in [rle["size"] for rle in entry.rles]:
        _check_size((rows, columns), height, width)
    if entry.stated_size:
        _check_size(entry.stated_size[::-1], height, width)
    check_against_size(entry, width, height)
    accepted = {
        "height": height,
        "width": width,
        "polygons": entry.polygons,
        "rle": entry.rles,
        "mask_file": entry.mask_file,
    }
    return draw_mask(accepted, masks, max_pixels)


def _check_size(found: tuple[int, ...], height: int, width: int) -> None:
    if tuple(found) != (height, width):
        raise Refusal(
            "mask",
            f"the mask has {found[1]} × {found[0]} pixels; the image {width} × {height}",
            "expected a mask of the image's size: finished masks are never resized",
        )


def match_results(
    method: str,
    results: Iterable[tuple[str, Draw]],
    samples: Any,
    original: Mapping[str, str],
    max_pixels: int,
) -> dict[str, Callable[[], Mask]]:
    """Find the mask of every test image among somebody's masks.

    A mask belongs to the image whose id or file name it has, the ending left out or not; a stem
    alone will do for a file in a folder. A name that would fit two images fits none.

    Args:
        method: what to call their maker in messages.
        results: see `open_results`.
        samples: the table of samples.
        original: pseudonym of a file → its name; empty where names are not replaced.
        max_pixels: larger mask files are refused.

    Returns:
        Id of a test image → maker of its mask, bool (H, W); images without a mask are left out. A
        maker raises a `VesselrlError` if the mask is damaged, no mask or of another size.

    Raises:
        VesselrlError: two masks are of the same image.
    """
    known = _known_names(samples, original)
    tested = samples[samples["split"] == "test"].set_index("id")
    found: dict[str, str] = {}
    makers: dict[str, Callable[[], Mask]] = {}
    others = 0
    for name, draw in results:
        whole = normalised(name)
        stem = whole.removesuffix(PurePosixPath(whole).suffix)
        sample = known.get(whole) or known.get(stem)
        if sample is None or sample not in tested.index:
            others += 1
            continue
        if sample in found:
            names = "" if original else f" ({found[sample]} and {name})"
            raise VesselrlError(
                f"Method ‘{method}’ has two masks of image {sample}{names}: keep one."
            )
        found[sample] = name
        shown = f"the mask of image {sample}" if original else f"{name} (image {sample})"
        size = (int(tested.at[sample, "height"]), int(tested.at[sample, "width"]))
        makers[sample] = partial(_made, method, shown, draw, (*size, max_pixels))
    if others:
        logger.info("Method ‘%s’: %d masks of no test image are ignored.", method, others)
    return makers


def _known_names(samples: Any, original: Mapping[str, str]) -> dict[str, str]:
    """Every name that is one image's alone → the image's id."""
    claims: dict[str, set[str]] = {}
    for row in samples.itertuples():
        file = PurePosixPath(original.get(row.file, row.file))
        for name in {row.id, str(file), str(file.with_suffix("")), file.stem}:
            claims.setdefault(name, set()).add(row.id)
    return {name: ids.pop() for name, ids in claims.items() if len(ids) == 1}


def _made(method: str, shown: str, draw: Draw, sizes: tuple[int, int, int]) -> Mask:
    try:
        return draw(*sizes)
    except Refusal as refusal:
        raise VesselrlError(
            f"Method ‘{method}’: {shown} cannot be used: {refusal.reason}; {refusal.hint}."
        ) from None
