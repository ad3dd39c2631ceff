import io

import numpy as np
import pytest
from PIL import Image

from vesselrl.annotations.acceptance import read_sample
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


def rotated(**options):
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise to view
    return encoded(Image.fromarray(GREY), exif=exif, **options)


def frames(*images):
    return encoded(images[0], format="TIFF", save_all=True, append_images=images[1:])


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


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"])
def test_every_lossless_format_is_read(format):
    assert np.array_equal(decoded(CASES["grey"][0], format=format), GREY)


@pytest.mark.parametrize("image", [Image.fromarray(GREY), Image.fromarray(COLOUR)])
def test_jpeg_is_read(image):
    pixels = decoded(image, format="JPEG", quality=100, subsampling=0)
    assert np.abs(pixels.astype(int) - np.asarray(image)).max() <= 3


def test_deep_tiff_is_read_in_either_order_of_bytes():
    image = Image.fromarray(np.array([[0, 65535, 257]], np.uint16))
    swapped = Image.frombytes("I;16B", image.size, image.tobytes("raw", "I;16B"))
    for version in (image, swapped):
        assert np.array_equal(decoded(version, format="TIFF"), [[0, 255, 1]])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
def test_the_orientation_of_the_camera_is_applied(format):
    pixels = decode(rotated(format=format, quality=100), 10_000).astype(int)
    assert np.abs(pixels - np.rot90(GREY, -1)).max() <= 2


def test_polygons_refer_to_the_image_as_it_is_displayed():
    polygon = [0, 6, 5, 6, 5, 7, 0, 7]  # only in the displayed 8 rows × 6 columns
    entry = {"image": "x.png", "mask": [polygon], "stated_size": [6, 8]}
    sample = read_sample(entry, {"x.png": rotated}, 10_000)
    assert sample.image.shape == sample.mask.shape == (8, 6)
    assert np.array_equal(np.flatnonzero(sample.mask.any(axis=1)), [6, 7])


def test_the_named_frame_is_read():
    data = frames(Image.fromarray(GREY), Image.fromarray(GREY + 9))
    assert np.array_equal(decode(data, 10_000, 1), GREY)
    assert np.array_equal(decode(data, 10_000, 2), GREY + 9)
    with pytest.raises(Refusal, match="frame 3 of 2"):
        decode(data, 10_000, 3)


def test_a_later_frame_may_be_too_large_as_well():
    with pytest.raises(Refusal, match="too large"):
        decode(frames(Image.fromarray(GREY), Image.new("1", (200, 200))), 10_000, 2)


def test_formats_that_other_programs_would_decode_are_not_opened():
    assert decoded(Image.fromarray(COLOUR)).shape == (6, 8, 3)
    with pytest.raises(Refusal, match="not an image in a known format"):
        decoded(Image.fromarray(COLOUR), format="EPS")


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
            frames(Image.new("L", (4, 4)), Image.new("L", (4, 4))),
            "the file holds 2 frames",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_is_refused_with_the_reason(data, reason):
    with pytest.raises(Refusal, match=reason):
        decode(data, max_pixels=10_000)
