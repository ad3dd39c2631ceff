"""Frames of videos, and how many frames a file of any kind holds."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.pictures import count_frames, decode, frames_of

av = pytest.importorskip("av")

SIDE, FRAMES = 32, 30


def video(*pictures: np.ndarray, gop: int = 10) -> bytes:
    """Pictures, RGB (H, W, 3), as H.264 without loss of brightness that matters."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=15, options={"crf": "1", "g": str(gop)})
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = "yuv444p"
        for picture in pictures:
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()


def grey(level: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


LEVELS = [20 + 7 * n for n in range(FRAMES)]
GREY = video(*map(grey, LEVELS))


@given(st.integers(1, FRAMES))
def test_every_frame_is_found_from_any_other(number):
    frame = decode(GREY, 10_000, number)
    assert frame.shape == (SIDE, SIDE)
    np.testing.assert_allclose(frame, LEVELS[number - 1], atol=3)


def file_of(form: str) -> bytes:
    """A file of 12 pictures that are partly transparent, grey or coloured."""
    if form == "MP4":
        rng = np.random.default_rng(0)
        return video(*(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8) for _ in range(12)), gop=4)
    pictures = [Image.new("L" if n % 2 else "RGB", (9, 7), n * 20) for n in range(12)]
    for n, picture in enumerate(pictures):
        picture.putpixel((n % 9, 3), 255 if n % 2 else (255, 0, n))
    stream = io.BytesIO()
    pictures[0].save(stream, form, save_all=True, append_images=pictures[1:])
    return stream.getvalue()


FILES = {form: file_of(form) for form in ("MP4", "TIFF", "GIF")}


@given(st.sampled_from(list(FILES)), st.lists(st.integers(1, 13), max_size=12))
def test_a_file_that_stays_open_gives_the_frames_of_one_that_is_opened_for_each(form, numbers):
    opened = frames_of(FILES[form], 10_000)
    for number in numbers:
        if number > 12:
            with pytest.raises(Refusal, match="frame 13 of 12"):
                opened(number)
        else:
            assert np.array_equal(opened(number), decode(FILES[form], 10_000, number))


def test_colours_stay_colours():
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(decode(video(red), 10_000), red, atol=6)


def test_frames_are_counted():
    pictures = [Image.new("L", (8, 8), level) for level in (0, 90, 200)]
    tiff = io.BytesIO()
    pictures[0].save(tiff, "TIFF", save_all=True, append_images=pictures[1:])
    assert count_frames(GREY, 10_000) == FRAMES
    assert count_frames(tiff.getvalue(), 100) == 3


@pytest.mark.parametrize(
    ("data", "frame", "limit", "reason"),
    [
        (GREY, None, 10_000, "holds 30 frames"),
        (GREY, 31, 10_000, "frame 31 of 30"),
        (GREY, 1, 1000, "too large: 32 × 32 pixels"),
        (GREY[:200], 1, 10_000, "cannot be decoded"),
        (GREY[:40] + bytes(400), 1, 10_000, "cannot be decoded"),
        (b"\0\0\0\x18ftypavif" + bytes(40), None, 10_000, "not an image in a known format"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(data, frame, limit, reason):
    with pytest.raises(Refusal) as refusal:
        decode(data, limit, frame)
    assert reason in refusal.value.reason


def test_what_cannot_be_read_cannot_be_counted():
    for data in (b"", b"text", GREY[:200]):
        with pytest.raises(Refusal):
            count_frames(data, 10_000)


def test_without_the_extra_a_video_is_refused_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Refusal) as refusal:
        decode(GREY, 10_000, 1)
    assert "vesselrl[video]" in refusal.value.hint
