"""Moving pictures of series."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from vesselrl.annotations.pictures import count_frames, decode
from vesselrl.prediction.animation import SIDE, animated
from vesselrl.style import SKY

COLOUR = tuple(bytes.fromhex(SKY[1:]))


def series(frames=4, shape=(41, 60), thickness=6):
    """Images that brighten, with a band that wanders to the right."""
    for number in range(frames):
        image = np.full(shape, 40 + 30 * number, np.uint8)
        mask = np.zeros(shape, bool)
        left = 10 + 5 * number
        mask[:, left : left + thickness] = True
        yield image, mask


def pictures(data: bytes) -> list[np.ndarray]:
    return [
        np.array(p.convert("RGB")) for p in ImageSequence.Iterator(Image.open(io.BytesIO(data)))
    ]


def test_a_gif_has_every_frame_with_the_contour_of_its_mask():
    data = animated(series(), "gif", 10)
    shown = pictures(data)
    assert len(shown) == 4
    for number, picture in enumerate(shown):
        marked = (picture == COLOUR).all(-1)
        left = 10 + 5 * number
        assert set(np.flatnonzero(marked.any(0))) == {left - 1, left + 6}
        np.testing.assert_allclose(picture[~marked], 40 + 30 * number, atol=1)
    assert Image.open(io.BytesIO(data)).info == {
        **Image.open(io.BytesIO(data)).info, "duration": 100, "loop": 0,
    }  # fmt: skip


def test_large_frames_are_reduced_and_thin_vessels_stay_visible():
    (picture,) = pictures(animated(series(1, (900, 1800), thickness=2), "gif", 10))
    assert picture.shape == (SIDE // 2, SIDE, 3)
    assert (picture == COLOUR).all(-1).any(1).all()


def test_frames_of_other_sizes_are_brought_to_that_of_the_first():
    frames = [*series(1, (40, 60)), *series(1, (20, 20))]
    assert {p.shape for p in pictures(animated(frames, "gif", 10))} == {(40, 60, 3)}


def test_an_mp4_has_every_frame_with_the_contour_of_its_mask():
    pytest.importorskip("av")
    data = animated(series(), "mp4", 7.5)
    assert count_frames(data, 10_000) == 4
    frame = decode(data, 10_000, 3)
    assert frame.shape == (42, 60, 3)  # even sides
    blue = frame[:40, :, 2].astype(int) - frame[:40, :, 0]
    assert set(blue.mean(0).argsort()[-2:] // 2) <= {19 // 2, 26 // 2}
    np.testing.assert_allclose(frame[20, 45:], 100, atol=6)
