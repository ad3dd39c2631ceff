import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, PngImagePlugin

from vesselrl.annotations.pictures import decode
from vesselrl.annotations.png import pixels_alone, png_of_image, png_of_mask

NAME = b"Anna Mueller"
GREY = np.arange(600, dtype=np.uint8).reshape(20, 30)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def png(image, **options):
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def texts(**values):
    information = PngImagePlugin.PngInfo()
    for key, value in values.items():
        information.add_text(key.replace("_", " "), value)
    return information


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@given(hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_mask_is_written_as_grey_of_0_and_255_exactly(mask):
    with Image.open(io.BytesIO(png_of_mask(mask))) as image:
        assert image.mode == "L"
        image.load()
        assert np.array_equal(np.array(image), mask * np.uint8(255))


@pytest.mark.parametrize("pixels", [GREY, RGB])
def test_an_image_is_written_exactly(pixels):
    assert np.array_equal(decode(png_of_image(pixels), 1000), pixels)


KEPT = {
    "grey": png(Image.fromarray(GREY)),
    "RGB": png(Image.fromarray(RGB)),
    "with a text": png(Image.fromarray(GREY), pnginfo=texts(Patient=NAME.decode())),
    "with a profile": png(Image.fromarray(RGB), icc_profile=NAME * 20, dpi=(300, 300)),
    "with a transparent grey": png(Image.fromarray(GREY), transparency=7),
    "with something after its end": png(Image.fromarray(GREY)) + NAME,
}


@pytest.mark.parametrize("data", KEPT.values(), ids=KEPT.keys())
def test_of_an_8_bit_png_file_the_pixels_are_kept_as_they_are_and_nothing_else(data):
    alone = pixels_alone(data)
    assert np.array_equal(decode(alone, 1000), decode(data, 1000))
    assert NAME not in alone
    position, kinds = 8, []
    while position < len(alone):
        length, kind = struct.unpack_from(">I4s", alone, position)
        assert alone[position : position + 12 + length] in data
        kinds.append(kind)
        position += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


OTHERS = {
    "16 bits": png(Image.fromarray(GREY.astype(np.uint16) * 256)),
    "1 bit": png(Image.fromarray(GREY > 99)),
    "a palette": png(Image.fromarray(RGB).quantize(8)),
    "grey with transparency": png(Image.fromarray(np.stack([GREY, GREY], axis=2), "LA")),
    "turned": png(Image.fromarray(GREY), exif=turned()),
    "perhaps turned": png(Image.fromarray(GREY), pnginfo=texts(Raw_profile_type_exif="…")),
    "perhaps turned, as XMP": png(
        Image.fromarray(GREY), pnginfo=texts(**{"XML:com.adobe.xmp": "…"})
    ),
    "animated": png(
        Image.fromarray(GREY), save_all=True, append_images=[Image.fromarray(255 - GREY)]
    ),
    "no PNG file": b"BM" + bytes(100),
    "without an end": png(Image.fromarray(GREY))[:-12],
    "cut": png(Image.fromarray(GREY))[:50],
}  # fmt: skip


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_whatever_else_is_not_taken_as_it_is(data):
    assert pixels_alone(data) is None


def test_orientation_is_in_no_chunk_that_is_dropped_unseen():
    data = png(Image.fromarray(GREY), exif=turned())
    assert decode(data, 1000).shape == (30, 20)
    chunk = b"eXIf" + turned().tobytes()[6:]
    late = png(Image.fromarray(GREY))[:-12]
    late += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    late += png(Image.fromarray(GREY))[-12:]
    assert pixels_alone(late) is None
