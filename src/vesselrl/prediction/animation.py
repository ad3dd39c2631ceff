"""A series of images with the contours of their masks, as a moving picture."""

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.segmentation import find_boundaries

from vesselrl.errors import VesselrlError
from vesselrl.networks.imaging import grey
from vesselrl.style import SKY

Frames = Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]
"""Images, uint8 (H, W) or (H, W, 3), each with its mask, bool (H, W)."""

SIDE = 512
"""Larger pictures are reduced to this side, in pixels."""
CONTOUR = 255
"""The palette's colour of contours; those below are levels of grey."""
PALETTE = bytes(
    channel
    for colour in [(level,) * 3 for level in range(CONTOUR)] + [bytes.fromhex(SKY[1:])]
    for channel in colour
)


def require_writer(form: Literal["gif", "mp4"] | None) -> None:
    """Raise a VesselrlError if what writes this form is not installed."""
    if form == "mp4" and find_spec("av") is None:
        raise VesselrlError(
            "predict.series.animation is mp4, and PyAV is not installed: pip install "
            "'vesselrl[video]', or set it to gif."
        )


def animated(frames: Frames, form: Literal["gif", "mp4"], per_second: float) -> bytes:
    """A moving picture of a series, which plays again and again where the format can say so.

    Args:
        frames: in their order, at least one; taken one after the other. All have the first one's
            size, or are brought to it.
        form: ``mp4`` needs the extra ``video``.
        per_second: how many frames are shown in a second.

    Returns:
        The bytes of the file.
    """
    drawn = _of_one_size(_drawn(image, mask) for image, mask in frames)
    return (_gif if form == "gif" else _mp4)(drawn, per_second)


def _drawn(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> Image.Image:
    """The image in grey with the mask's contour, a picture with `PALETTE`."""
    levels = Image.fromarray(np.rint(grey(image) * (CONTOUR - 1)).astype(np.uint8))
    levels.thumbnail((SIDE, SIDE))
    shape = Image.fromarray(mask.astype(np.uint8) * 255).resize(levels.size, Image.Resampling.BOX)
    indices = np.array(levels)
    # A vessel that is thinner than a pixel now still has a contour.
    indices[find_boundaries(np.array(shape) > 64, mode="outer")] = CONTOUR
    picture = Image.fromarray(indices, "P")
    picture.putpalette(PALETTE)
    return picture


def _of_one_size(pictures: Iterable[Image.Image]) -> Iterator[Image.Image]:
    size: tuple[int, int] | None = None
    for picture in pictures:
        size = size or picture.size
        yield picture if picture.size == size else picture.resize(size)


def _gif(pictures: Iterator[Image.Image], per_second: float) -> bytes:
    stream = io.BytesIO()
    first = next(pictures)
    duration = round(1000 / per_second)
    first.save(stream, "GIF", save_all=True, append_images=pictures, duration=duration, loop=0)
    return stream.getvalue()


def _mp4(pictures: Iterator[Image.Image], per_second: float) -> bytes:
    import av

    stream = io.BytesIO()
    first = next(pictures)
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("libx264", Fraction(per_second).limit_denominator(1000))
        track.width, track.height = (side + side % 2 for side in first.size)
        track.pix_fmt = "yuv420p"  # what every player knows; it needs even sides
        for picture in chain([first], pictures):
            padded = Image.new("RGB", (track.width, track.height))
            padded.paste(picture.convert("RGB"))
            frame = av.VideoFrame.from_ndarray(np.array(padded), format="rgb24")
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return stream.getvalue()
