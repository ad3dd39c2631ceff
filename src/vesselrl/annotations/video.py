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
    with _opened(data) as container:
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
    with _opened(data) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > max_pixels:
            raise Refusal(
                "image",
                f"too large: {stream.width} × {stream.height} pixels, more than the limit of "
                f"{max_pixels:,}",
                "reduce the video, or raise ingest.max_pixels if you trust it",
            )
        times = _times(container)
        if frame is None and len(times) != 1:
            raise Refusal(
                "image",
                f"the file holds {len(times)} frames",
                'name the one annotated: "frame": 1, …',
            )
        number = frame or 1
        if number > len(times):
            raise Refusal("frame", f"frame {number} of {len(times)}", f"expected 1 to {len(times)}")
        time = times[number - 1]
        container.seek(time, stream=stream)  # to the key frame before it
        decoded: Any = next(one for one in container.decode(stream) if one.pts == time)
        colours: Pixels = decoded.to_ndarray(format="rgb24")
        return colours[..., 0].copy() if (colours == colours[..., :1]).all() else colours


@contextmanager
def _opened(data: bytes) -> "Iterator[InputContainer]":
    try:
        import av
    except ImportError:
        raise Refusal(
            "image", "a video, and PyAV is not installed", "pip install 'vesselrl[video]'"
        ) from None
    try:
        with av.open(io.BytesIO(data), "r", format="mov") as container:
            yield container
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
