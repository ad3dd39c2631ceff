"""Where annotations come from: one sequence of entries from any of the formats.

| format | what it is |
|---|---|
| ``list`` | ``annotations.json``, a list of flat or nested entries (told one by one) |
| ``coco`` | ``annotations.json``, an object as COCO writes it |
| ``labelme`` | a JSON file an image, in ``annotations/``, ``images/`` or the data folder itself |
| ``masks`` | ``masks/x.png`` for ``images/x.jpg``, or ``x_mask.png`` with one ending for all |

Files of LabelMe beside an ``annotations.json`` or ``masks/`` are corrections of it, or labels of
further images: they go before what it says of the same image, unless a format was asked for.

The images are always in ``images/``. What no entry names there may be taken for images without
labels (`with_unannotated`), whatever the format.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vesselrl.annotations.coco import entries_of_coco, is_coco
from vesselrl.annotations.entries import describe
from vesselrl.annotations.folder import ImageFolder, normalised
from vesselrl.annotations.json_files import first_character, read_json, stream_list
from vesselrl.annotations.labelme import entries_of_labelme, labelme_files
from vesselrl.annotations.mask_files import entries_of_masks
from vesselrl.errors import VesselrlError
from vesselrl.overrides import suggestion

logger = logging.getLogger(__name__)

LabelMeFiles = list[tuple[Path, str]]
"""See `vesselrl.annotations.labelme.labelme_files`."""
Format = Literal["auto", "list", "coco", "labelme", "masks"]

_EXPECTED_LIST = (
    'expected a list of objects {"image": "x.png", "mask": [[x1, y1, x2, y2, …], …]}, or an '
    "object as COCO writes it, with 'images' and 'annotations'"
)


@dataclass(frozen=True)
class Source:
    """Entries, to be gone through any number of times, always in the same order.

    Attributes:
        format: which of the formats they are in, never ``auto``.
        name: what to call their place in a sentence.
        masks: file name → loader of the bytes of a mask file, where entries may name one.
    """

    format: str
    name: str
    entries: Callable[[], Iterable[Any]] = field(repr=False)
    count: int
    masks: Mapping[str, Callable[[], bytes]] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[Any]:
        """Each entry as `vesselrl.annotations.acceptance.accept` takes it."""
        return iter(self.entries())

    def __len__(self) -> int:
        return self.count


def open_source(raw_dir: Path, format: Format = "auto", max_json_mb: float = 512) -> Source:
    """Find the annotations of a data folder.

    ``annotations.json`` goes before all else when the format is ``auto``. A list in it is read
    through once to count and check it, and again whenever its entries are gone through.

    Args:
        raw_dir: the data folder, with ``images/`` in it.
        format: one of the formats, or ``auto``.
        max_json_mb: larger JSON files are refused, but for a list, which is read entry by entry.

    Raises:
        VesselrlError: there is nothing of that format, or the file is not JSON.
    """
    require_folder(raw_dir)
    if format == "auto":
        found = open_source(raw_dir, _detected(raw_dir, max_json_mb), max_json_mb)
        files = [] if found.format == "labelme" else labelme_files(raw_dir, max_json_mb)
        return _corrected(found, files, max_json_mb) if files else found
    if format == "list":
        return _open_list(_annotations_file(raw_dir))
    if format == "coco":
        return _open_coco(_annotations_file(raw_dir), max_json_mb)
    if format == "labelme":
        return _open_labelme(raw_dir, max_json_mb)
    return _open_masks(raw_dir)


def with_unannotated(entries: Iterable[Any], images: Iterable[str]) -> Iterator[Any]:
    """The entries, and after them one without label for each image that none of them names.

    Args:
        entries: raw entries.
        images: names of the files in ``images/``.
    """
    named = set()
    for raw in entries:
        if isinstance(raw, dict) and isinstance(raw.get("image"), str):
            named.add(normalised(raw["image"]))
        yield raw
    yield from _unlabelled(file for file in images if file not in named)


def of_images(images: Iterable[str], name: str) -> Source:
    """An entry without label for each image of a folder.

    Args:
        images: names of its files.
        name: what to call it in a sentence.
    """
    files = list(images)
    return Source("images", name, partial(_unlabelled, files), len(files))


def require_folder(raw_dir: Path) -> None:
    """Raise a VesselrlError unless there is a data folder."""
    if raw_dir.is_file():
        raise VesselrlError(
            f"{raw_dir} is a file: give its folder, --params raw_dir={raw_dir.parent}."
        )
    if not raw_dir.is_dir():
        beside = raw_dir.parent.iterdir() if raw_dir.parent.is_dir() else []
        hint = suggestion(
            raw_dir.name,
            [path.name for path in beside if path.is_dir()],
            "give the folder that holds it with --params raw_dir=….",
        )
        raise VesselrlError(
            f"The folder {raw_dir} does not exist; expected annotations.json in it: {hint}"
        )


def _corrected(source: Source, files: LabelMeFiles, max_json_mb: float) -> Source:
    """The entries of LabelMe's files, and before them those about other images.

    A file that says nothing usable, an unchecked prediction for one, takes no entry's place.
    """
    corrections = entries_of_labelme(files, max_json_mb)
    named = {normalised(entry["image"]) for entry in corrections if "refused" not in entry}
    entries = partial(_with_corrections, source, named, files, max_json_mb)
    count = sum(1 for _ in entries())
    logger.info(
        "LabelMe files beside %s: %d, of which %d go before its entries about the same images.",
        source.name,
        len(files),
        len(source) + len(files) - count,
    )
    name = f"{source.name} and the LabelMe files"
    return replace(source, entries=entries, count=count, name=name)


def _with_corrections(
    source: Source, named: Collection[str], files: LabelMeFiles, max_json_mb: float
) -> Iterator[Any]:
    for raw in source:
        file = raw.get("image") if isinstance(raw, dict) else None
        if not isinstance(file, str) or normalised(file) not in named:
            yield raw
    yield from entries_of_labelme(files, max_json_mb)


def _unlabelled(files: Iterable[str]) -> Iterator[Any]:
    return ({"image": file, "mask": None} for file in files)


def _detected(raw_dir: Path, max_json_mb: float) -> Format:
    path = raw_dir / "annotations.json"
    if path.exists():
        return "coco" if first_character(path) == "{" else "list"
    if _has_files(raw_dir / "masks"):
        return "masks"
    if labelme_files(raw_dir, max_json_mb):
        return "labelme"
    raise VesselrlError(
        f"{path} does not exist: give the folder that holds it with --params raw_dir=…. "
        "LabelMe files or a folder masks/ would do as well; there are none."
    )


def _annotations_file(raw_dir: Path) -> Path:
    path = raw_dir / "annotations.json"
    if not path.is_file():
        raise VesselrlError(
            f"{path} does not exist: give the folder that holds it with --params raw_dir=…."
        )
    return path


def _open_list(path: Path) -> Source:
    count = sum(1 for _ in stream_list(path))
    masks = ImageFolder(path.parent / "masks", "mask_file")
    return Source("list", path.name, partial(stream_list, path), count, masks)


def _open_coco(path: Path, max_json_mb: float) -> Source:
    document = read_json(path, max_json_mb)
    if not is_coco(document):
        raise VesselrlError(f"{path} holds {describe(document)}; {_EXPECTED_LIST}.")
    entries = partial(entries_of_coco, document)
    return Source("coco", path.name, entries, sum(1 for _ in entries()))


def _open_labelme(raw_dir: Path, max_json_mb: float) -> Source:
    files = labelme_files(raw_dir, max_json_mb)
    if not files:
        raise VesselrlError(
            f"No LabelMe files, JSON with 'shapes', in {raw_dir}, its annotations/ or its images/."
        )
    entries = partial(entries_of_labelme, files, max_json_mb)
    return Source("labelme", "the LabelMe files", entries, len(files))


def _open_masks(raw_dir: Path) -> Source:
    folder = raw_dir / "masks"
    if not _has_files(folder):
        raise VesselrlError(f"{folder} does not exist or is empty: expected masks/x.png an image.")
    masks = ImageFolder(folder, "mask_file")
    names = list(masks)
    entries = partial(entries_of_masks, ImageFolder(raw_dir / "images"), names)
    pairs = ((e["image"], e["mask_file"]) for e in entries() if "mask_file" in e)
    if (pair := next(pairs, None)) and Path(pair[0]).stem != Path(pair[1]).stem:
        # without the names themselves, for which pseudonyms may stand
        logger.info(
            "No mask has the name of an image, so the ending that the names share, as in "
            "x_mask.png, is left out: see in the overview that they belong together."
        )
    return Source("masks", "masks/", entries, len(names), masks)


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(ImageFolder(folder))
