import io

import numpy as np
import pytest
from PIL import Image

from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.pictures import decode

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
COLOUR = np.stack([GREY, GREY + 50, GREY + 100], axis=-1)


def encoded(image, **options):
    stream = io.BytesIO()
    image.save(stream, **{"format": "PNG", **options})
    return stream.getvalue()


def decoded(image, **options):
    return decode(encoded(image, **options), max_pixels=10_000)


def with_palette(colours):
    image = Image.fromarray(GREY)
    image.putpalette(colours.flatten().tolist())
    return image


def rotated():
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise to view
    return encoded(Image.fromarray(GREY), exif=exif)


RAMP = np.repeat(np.arange(256)[:, None], 3, axis=1)

CASES = {
    "grey": (Image.fromarray(GREY), GREY),
    "colour": (Image.fromarray(COLOUR), COLOUR),
    "grey with transparency": (Image.fromarray(GREY).convert("LA"), GREY),
    "colour with transparency": (Image.fromarray(COLOUR).convert("RGBA"), COLOUR),
    "black and white": (Image.fromarray(GREY > 20), (GREY > 20) * np.uint8(255)),
    "palette of greys": (with_palette(RAMP), GREY),
    "palette of colours": (
        with_palette(RAMP[:, [0]] * [1, 2, 0] % 256), GREY[..., None] * [1, 2, 0],
    ),
    "16 bits": (Image.fromarray(GREY.astype(np.uint16) * 257 + 47 * 257), GREY + 47),
    "12 bits in 16": (
        Image.fromarray(np.array([[0, 4095, 2048]], np.uint16)),
        np.array([[0, 255, 128]]),
    ),
    "16 bits, bright": (
        Image.fromarray(np.array([[0, 65535, 257]], np.uint16)),
        np.array([[0, 255, 1]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("image", "expected"), CASES.values(), ids=CASES.keys())
def test_every_kind_of_image_becomes_eight_bit_grey_or_colour(image, expected):
    pixels = decoded(image)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, expected)


def test_the_orientation_of_the_camera_is_applied():
    assert np.array_equal(decode(rotated(), 10_000), np.rot90(GREY, -1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"no image at all", "not an image in a known format"),
        (encoded(Image.fromarray(COLOUR))[:-30], "truncated or damaged"),
        (encoded(Image.fromarray(COLOUR), format="JPEG")[:-200], "truncated or damaged"),
        (encoded(Image.new("1", (200, 200))), "too large, perhaps a decompression bomb"),
        (encoded(Image.new("1", (20_000, 20_000))), "too large, perhaps a decompression bomb"),
        (encoded(Image.new("F", (4, 4)), format="TIFF"), "pixels are floating-point numbers"),
        (
            encoded(
                Image.new("L", (4, 4)), format="TIFF", save_all=True,
                append_images=[Image.new("L", (4, 4))],
            ),
            "the file holds 2 frames",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_is_refused_with_the_reason(data, reason):
    with pytest.raises(Refusal, match=reason):
        decode(data, max_pixels=10_000)
