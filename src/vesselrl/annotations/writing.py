"""Images and masks that are yet to be made, and the files they become."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vesselrl.annotations import folder
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import Refusal, read_entry, scaled_to
from vesselrl.annotations.packing import unpack
from vesselrl.annotations.pictures import Pixels, decode
from vesselrl.annotations.png import pixels_alone, png_of_image, png_of_mask
from vesselrl.annotations.polygons import Mask
from vesselrl.errors import VesselrlError

Files = Mapping[str, Callable[[], bytes]]


class Maker(Protocol):
    """Makes one picture, and can be sent to another process."""

    def __call__(self) -> Any:
        """The pixels."""

    def png(self) -> bytes:
        """The pixels as a PNG file."""


@dataclass(frozen=True)
class ImageMaker:
    """Brings a source image into the project's form.

    Attributes:
        sample: what to call it in an error.
        images: file name → loader of the file's bytes.
        file: its name.
        frame: which of a file of several; None if it holds one.
        max_pixels: larger images are refused.
    """

    sample: str
    images: Files
    file: str
    frame: int | None
    max_pixels: int

    def __call__(self) -> Pixels:
        """The image, uint8 (H, W) or (H, W, 3)."""
        with _nothing_refused(self.sample):
            return decode(folder.read(self.images, self.file), self.max_pixels, self.frame)

    def png(self) -> bytes:
        """The image as a PNG file; not compressed again where that is not needed."""
        with _nothing_refused(self.sample):
            data = folder.read(self.images, self.file)
            return pixels_alone(data) or png_of_image(decode(data, self.max_pixels, self.frame))


@dataclass(frozen=True)
class MaskMaker:
    """Draws the mask of an entry that was accepted.

    Attributes:
        sample: what to call it in an error.
        packed: the entry; see `vesselrl.annotations.packing`.
        masks: file name → loader of the bytes of a mask file.
        width: columns of the image.
        height: rows of the image.
        max_pixels: larger mask files are refused.
    """

    sample: str
    packed: bytes
    masks: Files
    width: int
    height: int
    max_pixels: int

    def __call__(self) -> Mask:
        """The mask, bool (H, W)."""
        with _nothing_refused(self.sample):
            entry = scaled_to(read_entry(unpack(self.packed)), self.width, self.height)
            accepted = {
                "width": self.width,
                "height": self.height,
                "polygons": entry.polygons,
                "rle": entry.rles,
                "mask_file": entry.mask_file,
            }
            return draw_mask(accepted, self.masks, self.max_pixels)

    def png(self) -> bytes:
        """The mask as a PNG file, 0 and 255."""
        return png_of_mask(self())


@contextmanager
def _nothing_refused(sample: str) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise VesselrlError(
            f"The files of {sample} changed since they were checked ({refusal.reason}): run the "
            "command again when nothing writes to the data."
        ) from refusal


class Pictures(Mapping[str, Callable[[], Any]]):
    """Pictures yet to be made: sample id → maker of its pixels.

    Attributes:
        keys_of_content: sample id → a text that differs if the picture does.
        workers: the most processes to make them in; None is one for each core.
    """

    def __init__(
        self,
        keys_of_content: Mapping[str, str],
        makers: Callable[[Collection[str]], Iterable[tuple[str, Maker]]],
        title: str,
        workers: int | None,
    ) -> None:
        """Describe them.

        Args:
            keys_of_content: see the class.
            makers: given some of the ids, gives them with their makers, in any order.
            title: what to call the work in a progress bar.
            workers: see the class.
        """
        self.keys_of_content = keys_of_content
        self.makers = makers
        self.title = title
        self.workers = workers

    def __getitem__(self, sample: str) -> Maker:
        """The maker of one picture."""
        if sample not in self.keys_of_content:
            raise KeyError(sample)
        return next(maker for _, maker in self.makers([sample]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_of_content)

    def __len__(self) -> int:
        return len(self.keys_of_content)


@dataclass(frozen=True)
class PngWriter:
    """Writes pictures as files of a folder, each whole or not at all.

    Attributes:
        target: the folder.
        workplace: another one of the same file system, in which files are until they are complete.
    """

    target: Path
    workplace: Path

    def __call__(self, item: tuple[str, Maker]) -> tuple[str, int]:
        """Make and write one picture.

        Args:
            item: its name, and its maker.

        Returns:
            Its name, and how many bytes the file has.
        """
        name, maker = item
        data = maker.png()
        unfinished = self.workplace / f"{name}.png"
        unfinished.write_bytes(data)
        unfinished.replace(self.target / f"{name}.png")
        return name, len(data)
