"""A folder of images some of which are frames of series: files of several frames, and folders."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import Any, TypedDict

from vesselrl.annotations.acceptance import sample_ids
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.pictures import Pixels, count_frames, frames_of
from vesselrl.annotations.png import png_of_image
from vesselrl.errors import VesselrlError

Files = Mapping[str, Callable[[], bytes]]

MOST_FRAMES = 9_999
"""A file that says it holds more is taken for damaged, or for made to do harm."""
DIGITS = 4
"""A frame's number has at least so many, so that names stand in the order of the frames."""

BATCH = 16
"""Frames of a series that one process predicts: what their neighbours choose is found out there."""

_SINGLE = frozenset((".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"))
"""Endings of files that hold one picture: what is in them need not be looked at."""


class Frame(TypedDict):
    """One image of a series.

    ``file`` is where it is, ``content`` the hash of that file, ``number`` which of its frames, from
    1, or 0 if it holds one picture; ``series`` the name of the series, ``place`` that of the frame
    in it, from 1.
    """

    file: str
    content: str
    number: int
    series: str
    place: int


Frames = Mapping[str, Frame]
"""Name → what it stands for. Frames of a file have names as if they were PNG files beside it.

Or within it, as if it were a folder, if there is another file of that name.
"""


def list_frames(
    files: Files, hashes: Mapping[str, str], folders: bool, max_pixels: int
) -> dict[str, Frame]:
    """The frames of all series in a folder of images.

    Args:
        files: file name → loader of the file's bytes.
        hashes: file name → hash of its content, of those that can be read.
        folders: whether each folder within that folder is a series, too, whose frames are its files
            of one picture, in the order of the numbers in their names.
        max_pixels: larger images are not looked at.

    Returns:
        Name → frame, those of a series one after the other. What stands alone is left out, and so
        is what cannot be read.
    """
    members: dict[str, list[tuple[str, int]]] = {}
    for file in sorted(files, key=_natural):
        count, folder = _count(files, file, max_pixels), PurePosixPath(file).parent.as_posix()
        if count > 1:
            members[file] = [(file, number) for number in range(1, count + 1)]
        elif folders and folder != ".":
            members.setdefault(folder, []).append((file, 0))
        else:
            members[file] = [(file, 0)]
    names = sample_ids(members)
    frames: dict[str, Frame] = {}
    for source, parts in members.items():
        if parts == [(source, 0)]:
            continue
        for place, (file, number) in enumerate(parts, 1):
            frame = Frame(
                file=file,
                content=hashes.get(file, ""),
                number=number,
                series=names[source],
                place=place,
            )
            beside = PurePosixPath(file).with_name(f"{frame_id(frame)}.png").as_posix()
            within = f"{file}/{number:0{DIGITS}}.png"  # where no other file can be
            name = file if not number else within if beside in files else beside
            frames[name] = frame
    return frames


def frame_id(frame: Frame) -> str:
    """``<series>_<place>``, fit for a file name."""
    return f"{frame['series']}_{frame['place']:0{DIGITS}}"


def ids_with_frames(ids: Mapping[str, str], frames: Frames) -> dict[str, str]:
    """Name → id, that of a frame being its `frame_id`.

    Args:
        ids: name → id, as if each stood alone.
        frames: name → the frame of a series that it stands for; others are missing.

    Raises:
        VesselrlError: two would have the same id.
    """
    found = {name: frame_id(frames[name]) if name in frames else own for name, own in ids.items()}
    seen: dict[str, str] = {}
    for name, sample in found.items():
        if seen.setdefault(sample, name) != name:
            raise VesselrlError(
                f"{seen[sample]} and {name} would both be called {sample}: rename one of them."
            )
    return found


def _natural(file: str) -> list[Any]:
    """Sorts names by the numbers in them: ``f2`` before ``f10``."""
    parts = re.split(r"([0-9]+)", file)  # every second one is a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _count(files: Files, file: str, max_pixels: int) -> int:
    if PurePosixPath(file).suffix.lower() in _SINGLE:
        return 1
    try:
        count = count_frames(files[file](), max_pixels)
    except (Refusal, OSError):
        return 1  # it is refused with its reason when it is checked
    return count if count <= MOST_FRAMES else 1


@dataclass(frozen=True)
class FrameFolder(Mapping[str, Callable[[], bytes]]):
    """A folder in which each frame of a file has a name of its own, as if it were a PNG file.

    Attributes:
        files: file name → loader of the file's bytes.
        frames: name → the frame of a series that it stands for; others are missing.
        max_pixels: larger images are refused.
    """

    files: Files
    frames: Frames
    max_pixels: int

    def __getitem__(self, name: str) -> Callable[[], bytes]:
        """The loader of one file; refusals are those of the folder.

        Raises:
            KeyError: there is no such file.
        """
        frame = self.frames.get(name)
        if frame is None or not frame["number"]:
            return self.files[name]
        file = _File(frame["file"], frame["content"], self.files[frame["file"]])
        return partial(_png, file, frame["number"], self.max_pixels)

    def __iter__(self) -> Iterator[str]:
        """Names of all files, in order, and of the frames of those that hold several."""
        held: dict[str, list[str]] = {}
        for name, frame in self.frames.items():
            if frame["number"]:
                held.setdefault(frame["file"], []).append(name)
        for file in self.files:
            yield from held.get(file, [file])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def contents(self, hashes: Mapping[str, str]) -> dict[str, str]:
        """What tells whether the content of a name has changed, given the hashes of the files."""
        of_frames = {
            name: f"{frame['content']} {frame['number']}"
            for name, frame in self.frames.items()
            if frame["number"] and frame["content"]
        }
        return {**hashes, **of_frames}


@dataclass(frozen=True)
class _File:
    """A file of several frames; with the same name and content it is the same."""

    name: str
    content: str
    load: Callable[[], bytes] = field(compare=False)


@lru_cache(maxsize=1)  # one file is in memory, whose frames are asked for one after the other
def _frames_of(file: _File, max_pixels: int) -> Callable[[int], Pixels]:
    return frames_of(file.load(), max_pixels)


def _png(file: _File, number: int, max_pixels: int) -> bytes:
    return png_of_image(_frames_of(file, max_pixels)(number))


def ids_by_series(
    frames: Frames, entries: Any, file_names: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Series → the ids of its accepted frames, in their order.

    Args:
        frames: name → the frame of a series that it stands for; others are missing.
        entries: of the accepted images, a table with the columns ``id`` and ``file``.
        file_names: what the pseudonyms of files stand for.
    """
    original = file_names.get("files", {})
    ids = {original.get(row.file, row.file): row.id for row in entries.itertuples()}
    series: dict[str, list[str]] = {}
    for name, frame in frames.items():
        if name in ids:
            series.setdefault(frame["series"], []).append(ids[name])
    return series


def windows(series: Sequence[str], width: int) -> dict[str, Sequence[str]]:
    """Id → the ids within the window around it, cut where the series begins and ends.

    Args:
        series: ids in their order.
        width: of the window in frames, an odd number.
    """
    half = width // 2
    return {
        sample: series[max(0, place - half) : place + half + 1]
        for place, sample in enumerate(series)
    }


def batched(series: Sequence[str]) -> dict[str, str]:
    """Id → the first id of its batch, so many neighbouring frames of a series, in their order."""
    return {sample: series[place - place % BATCH] for place, sample in enumerate(series)}
