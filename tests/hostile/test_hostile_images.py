"""Image files made to do harm: none takes much memory or long, and each is read or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from vesselrl.annotations.jpeg import MOST_SCANS
from vesselrl.annotations.mask_files import decode_mask
from vesselrl.annotations.pictures import decode
from vesselrl.annotations.slow import MOST_COMMENTS

LIMIT = 50_000_000
"""``ingest.max_pixels`` in conf/base."""
WIDE = (7000, 7000)  # just below


def saved(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def png_of_zeros(width, height):
    """A PNG file of a few hundred kilobytes, whatever its size."""

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )


def jpeg_of_scans(count):
    """A progressive JPEG file whose last scan is there again and again."""
    data = saved(Image.new("L", (640, 480)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def run_length_bmp(width, height, format="BMP"):
    """Every run of one pixel, as no program writes it."""
    pixels = (b"\x01\x07" * width + b"\0\0") * height + b"\0\1"
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    start = 14 + 40 + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0
    )  # fmt: skip
    dib = header + palette + pixels
    if format == "DIB":
        return dib
    return b"BM" + struct.pack("<IHHI", 14 + len(dib), 0, 0, start) + dib


def plain_pnm(width, height, comments=0):
    return b"P2 %d %d 255\n" % (width, height) + b"#\n" * comments + b"7 " * (width * height)


def dicom(rows, columns, pixels, syntax=ExplicitVRLittleEndian, instance="1.2.3"):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = instance
    image.Rows, image.Columns, image.SamplesPerPixel = rows, columns, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelData = pixels
    image["PixelData"].VR = "OB"
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def deflated_dicom():
    """A bomb whose transfer syntax stands after two thousand other bytes."""
    plain = dicom(20, 30, bytes(600))
    start = plain.index(b"\x02\x00\x10\x00UI")
    rest = plain.index(b"\x08\x00\x16\x00UI")
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = plain[144:start] + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax
    padding = b"\x02\x00\x02\x01OB\x00\x00" + struct.pack("<I", 4000) + bytes(4000)
    before, after = meta[: -len(syntax) - 8], meta[-len(syntax) - 8 :]
    # Elements stand in the order of their tags in a good file; no reader insists on it.
    meta = before + padding + after
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(plain[rest:] + bytes(2**30)) + packer.flush()
    group = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta))
    return bytes(128) + b"DICM" + group + meta + bomb


REFUSED = {
    "png of 400 million pixels": (lambda: png_of_zeros(20_000, 20_000), "too large"),
    "jpeg of many scans": (lambda: jpeg_of_scans(MOST_SCANS + 1), "101 scans"),
    "bmp, run-length-encoded": (lambda: run_length_bmp(2100, 2000), "of 8,405,080 bytes"),
    "dib, run-length-encoded": (lambda: run_length_bmp(2100, 2000, "DIB"), "slow to read"),
    "pnm, plain": (lambda: plain_pnm(2100, 2000), "plain PNM file, which is slow to read"),
    "pnm of comments": (lambda: plain_pnm(9, 9, MOST_COMMENTS + 1), "101 comments"),
    "dicom, deflated": (deflated_dicom, "deflated"),
    "dicom, jpeg larger than told": (
        lambda: dicom(
            20, 30, encapsulate([saved(Image.new("L", WIDE), "JPEG")]), JPEGBaseline8Bit
        ),
        "cannot be decoded",
    ),
    "dicom, jpeg of many scans": (
        lambda: dicom(480, 640, encapsulate([jpeg_of_scans(MOST_SCANS + 1)]), JPEGBaseline8Bit),
        "101 scans",
    ),
    "nothing": (lambda: b"", "empty"),
    "cut": (lambda: saved(Image.new("L", (300, 200)), "JPEG")[:200], "truncated"),
    "gif of three frames": (
        lambda: saved(
            Image.new("L", (9, 9)), "GIF", save_all=True,
            append_images=[Image.new("L", (9, 9), 90 * n) for n in (1, 2)],
        ),
        "3 frames",
    ),
    "png of three frames": (
        lambda: saved(
            Image.new("L", (9, 9)), "PNG", save_all=True,
            append_images=[Image.new("L", (9, 9), 90 * n) for n in (1, 2)],
        ),
        "3 frames",
    ),
    "a pickle": (lambda: b"\x80\x04cos\nsystem\n.", "not an image"),
    "svg": (lambda: b"<svg onload='alert(1)'/>", "not an image"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_image_is_refused_in_a_sentence_before_it_takes_memory(name, outcomes):
    make, words = REFUSED[name]
    (found,) = outcomes(lambda data: decode(data, LIMIT), [make()])
    assert found.startswith("refused: ")
    assert words in found


SIXTEEN_BITS = np.full((7000, 7000), 4000, np.uint16)
SIXTEEN_BITS[:9] = 0
LARGE = {
    "16 bits": lambda: saved(Image.fromarray(SIXTEEN_BITS), "PNG", compress_level=1),
    "alpha": lambda: saved(Image.new("RGBA", WIDE), "PNG", compress_level=1),
    "cmyk": lambda: saved(Image.new("CMYK", WIDE, (255,) * 4), "TIFF", compression="tiff_lzw"),
    "palette": lambda: saved(Image.new("P", WIDE), "PNG", compress_level=1),
    "32 bits": lambda: saved(Image.new("I", WIDE), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_image_of_any_kind_is_read_in_a_gigabyte(name, outcomes):
    found = outcomes(lambda data: decode(data, LIMIT), [LARGE[name]()])
    assert found == ["read"]


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_mask_of_any_kind_is_read_in_a_gigabyte(name, outcomes):
    found = outcomes(lambda data: decode_mask(data, LIMIT), [LARGE[name]()])
    assert found == ["read"]


@pytest.mark.parametrize("size", [(1, 1), (10_000, 1), (1, 10_000)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_an_image_of_any_mode_and_shape_keeps_its_size(mode, size):
    format = "TIFF" if mode == "CMYK" else "PNG"
    image = decode(saved(Image.new(mode, size), format), LIMIT)
    assert image.dtype == np.uint8
    assert image.shape[:2] == size[::-1]


def test_a_jpeg_of_as_many_scans_as_may_be_is_read():
    assert decode(jpeg_of_scans(MOST_SCANS), LIMIT).shape == (480, 640)


@pytest.mark.parametrize(
    "data", [run_length_bmp(320, 200), plain_pnm(320, 200, MOST_COMMENTS)], ids=["bmp", "pnm"]
)
def test_what_is_slow_to_read_is_read_if_it_is_small(data):
    image = decode(data, LIMIT)
    assert image.shape == (200, 320)
    assert (image == 7).all()


def test_16_bits_are_scaled_as_the_formula_says():
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    for brightest, white in ((255, 255), (1000, 1023), (4095, 4095), (2**16 - 1, 2**16 - 1)):
        shown = np.minimum(values, brightest)
        expected = np.rint(shown * (255 / white)).astype(np.uint8)
        found = decode(saved(Image.fromarray(shown), "PNG"), LIMIT)
        np.testing.assert_array_equal(found, expected)


def test_a_mask_in_colours_is_vessel_where_it_is_neither_black_nor_transparent():
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 3] = 255
    for place, channel in enumerate(range(3)):
        pixels[0, place, channel] = 200
    pixels[1, 0] = (200, 200, 200, 0)
    mask = decode_mask(saved(Image.fromarray(pixels), "PNG"), LIMIT)
    np.testing.assert_array_equal(mask, [[True, True, True], [False, False, False]])
