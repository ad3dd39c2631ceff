"""MP4 and MOV files → pixels of one frame. Needs the extra ``video``.

Only the first video stream is read; sound, subtitles and metadata are not looked at.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.entries import Refusal

if TYPE_CHECKING:
    from av.container import InputContainer

Pixels = npt.NDArray[np.uint8]

_STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # pictures in the same container


def is_video(data: bytes) -> bool:
    """Whether the bytes are an MP4 or MOV file (ISO base media)."""
    return data[4:8] == b"ftyp" and data[8:12] not in _STILL


def count_video_frames(data: bytes) -> int:
    """How many frames a file holds; none of them is decoded.

    Raises:
        Refusal: PyAV is not installed, or the file is damaged.
    """
    with _readable(), _open(data) as container:
        return len(_times(container))


def decode_video(data: bytes, max_pixels: int, frame: int | None) -> Pixels:
    """Decode one frame.

    Args:
        data: the bytes of the file.
        max_pixels: larger frames are refused before they are decoded.
        frame: which frame, from 1; None for a file of one.

    Returns:
        uint8 (H, W) where all colours are equal, else (H, W, 3). A rotation that the file asks of
        players is not applied.

    Raises:
        Refusal: PyAV is not installed, the file is damaged, too large, or of several frames when
            none is named.
    """
    frames = VideoFrames(data, max_pixels)
    if frame is None and len(frames) != 1:
        raise Refusal(
            "image", f"the file holds {len(frames)} frames", 'name the one annotated: "frame": 1, …'
        )
    return frames(frame or 1)


class VideoFrames:
    """The frames of a file that stays open, see `decode_video`.

    A frame after that which was asked for last is decoded from there, another from the key frame
    before it.

    Args:
        data: the bytes of the file.
        max_pixels: larger frames are refused before they are decoded.

    Raises:
        Refusal: PyAV is not installed, the file is damaged or too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        with _readable():
            self._container = _open(data)
            self._stream = self._container.streams.video[0]
            width, height = self._stream.width, self._stream.height
            if width * height > max_pixels:
                raise Refusal(
                    "image",
                    f"too large: {width} × {height} pixels, more than the limit of {max_pixels:,}",
                    "reduce the video, or raise ingest.max_pixels if you trust it",
                )
            self._times = _times(self._container)
        self._decoded: Iterator[Any] = iter(())
        self._next = 0  # number of the frame that comes next there

    def __len__(self) -> int:
        return len(self._times)

    def __call__(self, number: int) -> Pixels:
        """One frame, counted from 1.

        Raises:
            Refusal: there is no such frame, or it is damaged.
        """
        if number > len(self):
            raise Refusal("frame", f"frame {number} of {len(self)}", f"expected 1 to {len(self)}")
        time = self._times[number - 1]
        with _readable():
            if number != self._next:
                self._container.seek(time, stream=self._stream)  # to the key frame before it
                self._decoded = iter(self._container.decode(self._stream))
            self._next = 0  # unless this one is found
            found = next(one for one in self._decoded if one.pts == time)
            self._next = number + 1
            colours: Pixels = found.to_ndarray(format="rgb24")
        return colours[..., 0].copy() if (colours == colours[..., :1]).all() else colours


def _open(data: bytes) -> "InputContainer":
    try:
        import av
    except ImportError:
        raise Refusal(
            "image", "a video, and PyAV is not installed", "pip install 'vesselrl[video]'"
        ) from None
    return av.open(io.BytesIO(data), "r", format="mov")


@contextmanager
def _readable() -> Iterator[None]:
    """Whatever goes wrong within is a refusal."""
    try:
        yield
    except Refusal:
        raise
    # PyAV raises errors of many kinds on damaged files.
    except Exception as error:
        raise Refusal(
            "image",
            f"a video that cannot be decoded ({type(error).__name__})",
            "save it as MP4 (H.264), or its frames as PNG in a folder",
        ) from None


def _times(container: "InputContainer") -> list[int]:
    """When each frame is shown, in order, in the stream's time base."""
    packets = container.demux(container.streams.video[0])
    return sorted(packet.pts for packet in packets if packet.pts is not None)
