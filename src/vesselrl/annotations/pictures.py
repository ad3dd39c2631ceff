"""Image files → pixels in the project's one form: uint8, grey (H, W) or RGB (H, W, 3)."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from vesselrl.annotations.dicom import count_dicom_frames, decode_dicom, is_dicom
from vesselrl.annotations.entries import Refusal, printable
from vesselrl.annotations.jpeg import refuse_many_scans
from vesselrl.annotations.slow import refuse_slow
from vesselrl.annotations.video import VideoFrames, count_video_frames, decode_video, is_video

Pixels = npt.NDArray[np.uint8]

# Formats that Pillow decodes itself; some others it gives to other programs.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM")
_GREY = ("1", "L", "LA", "La")
_GREY_16 = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def decode(data: bytes, max_pixels: int, frame: int | None = None) -> Pixels:
    """Decode an image file.

    Args:
        data: the bytes of the file: DICOM, MP4, or any format that Pillow reads.
        max_pixels: more pixels than this are refused before they are decoded.
        frame: which frame of a file of several, from 1; None where there is only one.

    Returns:
        uint8 (H, W) for a grey source, else (H, W, 3). The EXIF orientation is applied: annotations
        refer to the image as it is displayed. Transparency is dropped, a palette expanded; 16-bit
        grey is scaled from the least even number of bits that holds its brightest pixel, since 10-
        and 12-bit images come in 16-bit files. For DICOM see `vesselrl.annotations.dicom`.

    Raises:
        Refusal: the data are empty, no image, truncated, too large, or hold several frames.
    """
    if is_dicom(data):
        return decode_dicom(data, max_pixels, frame)
    if is_video(data):
        return decode_video(data, max_pixels, frame)
    return _pixels(open_picture(data, max_pixels, frame))


def frames_of(data: bytes, max_pixels: int) -> Callable[[int], Pixels]:
    """A file of several frames, opened once: number of a frame, from 1 → what `decode` makes of it.

    Frames that are asked for in their order cost the least.

    Raises:
        Refusal: see `decode`; what is wrong with a frame is told when that is asked for.
    """
    if is_dicom(data):
        return partial(decode_dicom, data, max_pixels)
    if is_video(data):
        return VideoFrames(data, max_pixels)
    with _readable():
        source = _open(data, max_pixels)
    return lambda number: _pixels(_shown(source, number, max_pixels))


def count_frames(data: bytes, max_pixels: int) -> int:
    """How many frames an image file holds, 1 for a picture.

    Raises:
        Refusal: it cannot be read, see `decode`.
    """
    if is_dicom(data):
        return count_dicom_frames(data)
    if is_video(data):
        return count_video_frames(data)
    with _readable():
        source = _open(data, max_pixels)
        # A camera's JPEG with its preview is one picture.
        return 1 if source.format == "MPO" else getattr(source, "n_frames", 1)


def open_picture(data: bytes, max_pixels: int, frame: int | None = None) -> Image.Image:
    """Decode a file that Pillow reads into a Pillow image, turned as it is displayed.

    Raises:
        Refusal: see `decode`.
    """
    with _readable():
        source = _open(data, max_pixels)
    return _shown(source, frame, max_pixels)


def _shown(source: Any, frame: int | None, max_pixels: int) -> Image.Image:
    with _readable():
        _seek(source, frame)
        _check_size(source.size, max_pixels)
        return ImageOps.exif_transpose(source)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise Refusal("image", "the file is empty", "copy the file again")
    source = Image.open(io.BytesIO(data), formats=_FORMATS)
    _check_size(source.size, max_pixels)
    if source.format in ("JPEG", "MPO"):
        refuse_many_scans(data)
    refuse_slow(source, data)
    return source


@contextmanager
def _readable() -> Iterator[None]:
    """Whatever goes wrong within is a refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused or read anyway
            yield
    except Refusal:
        raise
    except UnidentifiedImageError:
        raise Refusal(
            "image",
            "not an image in a known format",
            "expected PNG, JPEG, TIFF, BMP, DICOM or the like",
        ) from None
    except Image.DecompressionBombError as error:
        raise _too_large(str(error)) from None
    # Pillow's decoders raise errors of many kinds on damaged files.
    except Exception as error:
        detail = printable(str(error))[:120] or type(error).__name__
        raise Refusal(
            "image", f"truncated or damaged: {detail}", "copy the file again from its source"
        ) from None


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(f"{width} × {height} pixels, more than the limit of {max_pixels:,}")


def _too_large(detail: str) -> Refusal:
    return Refusal(
        "image",
        f"too large, perhaps a decompression bomb: {detail}",
        "reduce the image, or raise ingest.max_pixels if you trust it",
    )


def _seek(source: Any, frame: int | None) -> None:
    frames = getattr(source, "n_frames", 1)
    if frame is not None:
        if frame > frames:
            raise Refusal("frame", f"frame {frame} of {frames}", f"expected 1 to {frames}")
        source.seek(frame - 1)
    elif frames > 1 and source.format != "MPO":  # a camera's JPEG with its preview is one picture
        raise Refusal(
            "image", f"the file holds {frames} frames", 'name the one annotated: "frame": 1, …'
        )


def _pixels(source: Image.Image) -> Pixels:
    if source.mode in _GREY:
        return np.array(source.convert("L"))
    if source.mode in _GREY_16:
        return _eight_bits(np.asarray(source))
    if source.mode == "F":
        raise Refusal("image", "pixels are floating-point numbers", "expected 8 or 16 bits a pixel")
    colours = np.array(source.convert("RGB"))
    if source.mode in ("P", "PA") and (colours == colours[..., :1]).all():
        return colours[..., 0].copy()
    return colours


def _eight_bits(values: npt.NDArray[Any]) -> Pixels:
    brightest = int(values.max())
    bits = max(8, brightest.bit_length())
    if values.min() < 0 or bits > 16:
        raise Refusal("image", "pixels need more than 16 bits", "expected 8 or 16 bits a pixel")
    white = 2 ** (bits + bits % 2) - 1
    scaled = np.rint(np.arange(brightest + 1) * (255 / white)).astype(np.uint8)
    return scaled[values]
