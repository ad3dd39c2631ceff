import io
import logging
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from vesselrl.annotations.acceptance import accept
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.pictures import count_frames, decode

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
DEEP = np.arange(48, dtype=np.uint16).reshape(6, 8) * 80
SIGNED = DEEP.astype(np.int16) - 1000
COLOUR = np.stack([RAMP, RAMP // 2, 255 - RAMP], axis=-1)
SECRET = "Oduya^Marguerite"


def dataset(pixels, **elements):
    """A DICOM image of one frame (H, W), (H, W, 3), or several (N, H, W)."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    image.PatientName, image.PatientID = SECRET, SECRET
    is_colour = pixels.shape[-1] == 3
    frames = pixels.ndim - 2 - is_colour
    image.Rows, image.Columns = pixels.shape[frames : frames + 2]
    if frames:
        image.NumberOfFrames = len(pixels)
    image.SamplesPerPixel = 3 if is_colour else 1
    image.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        image.PlanarConfiguration = 0
    image.BitsAllocated = image.BitsStored = pixels.dtype.itemsize * 8
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    image.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(image, name, value)
    image.HighBit = image.BitsStored - 1
    return image


def file(image):
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def decoded(pixels, frame=None, **elements):
    return decode(file(dataset(pixels, **elements)), 10_000, frame)


def windowed(values, centre, width):
    """The formula of the standard, pixel by pixel (PS3.3, C.11.2.1.2.1)."""
    out = np.zeros(values.shape)
    for at, x in np.ndenumerate(values.astype(float)):
        if x <= centre - 0.5 - (width - 1) / 2:
            out[at] = 0
        elif x > centre - 0.5 + (width - 1) / 2:
            out[at] = 255
        else:
            out[at] = ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255
    return np.rint(out)


CASES = {
    "8 bits": (decoded(RAMP), RAMP),
    "inverted": (decoded(RAMP, PhotometricInterpretation="MONOCHROME1"), 255 - RAMP),
    "12 bits, no window": (decoded(DEEP, BitsStored=12), np.rint(DEEP * (255 / 4095))),
    "16 bits, no window": (decoded(DEEP), np.rint(DEEP * (255 / 65535))),
    "signed, no window": (decoded(SIGNED), np.rint((SIGNED + 32768.0) * (255 / 65535))),
    "window": (
        decoded(DEEP, BitsStored=12, WindowCenter=1500, WindowWidth=2000),
        windowed(DEEP, 1500, 2000),
    ),
    "first of two windows": (
        decoded(DEEP, WindowCenter=[1500, 40], WindowWidth=[2000, 400]),
        windowed(DEEP, 1500, 2000),
    ),
    "window after rescaling": (
        decoded(SIGNED, RescaleSlope=2, RescaleIntercept=-24, WindowCenter=300, WindowWidth=900),
        windowed(SIGNED * 2.0 - 24, 300, 900),
    ),
    "exact window": (
        decoded(DEEP, WindowCenter=1500, WindowWidth=2000, VOILUTFunction="LINEAR_EXACT"),
        np.rint(np.clip((DEEP - 500.0) / 2000, 0, 1) * 255),
    ),
    "sigmoid": (
        decoded(DEEP, WindowCenter=1500, WindowWidth=2000, VOILUTFunction="SIGMOID"),
        np.rint(255 / (1 + np.exp(-4 * (DEEP - 1500.0) / 2000))),
    ),
    "window of one value": (
        decoded(DEEP, WindowCenter=1500, WindowWidth=1), (DEEP > 1499.5) * 255,
    ),
    "window without a width": (decoded(RAMP, WindowCenter=100), RAMP),
    "empty window": (decoded(RAMP, WindowCenter=None, WindowWidth=None), RAMP),
    "negative slope": (decoded(RAMP, RescaleSlope=-1, RescaleIntercept=0), 255 - RAMP),
    "colour": (decoded(COLOUR), COLOUR),
    "planes of colour": (
        decoded(COLOUR, PlanarConfiguration=1, PixelData=COLOUR.transpose(2, 0, 1).tobytes()),
        COLOUR,
    ),
    "grey in YBR": (
        decoded(
            np.stack([RAMP, RAMP * 0 + 128, RAMP * 0 + 128], axis=-1),
            PhotometricInterpretation="YBR_FULL",
        ),
        np.stack([RAMP] * 3, axis=-1),
    ),
    "the third of three frames": (decoded(np.stack([RAMP, RAMP, RAMP[::-1]]), 3), RAMP[::-1]),
    "the first of one": (decoded(RAMP, 1), RAMP),
}  # fmt: skip


@pytest.mark.parametrize(("pixels", "expected"), CASES.values(), ids=CASES.keys())
def test_every_kind_of_file_becomes_eight_bit_grey_or_colour(pixels, expected):
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, expected)


def test_palettes_are_expanded():
    image = dataset(RAMP // 5, PhotometricInterpretation="PALETTE COLOR")
    for number, colour in enumerate(("Red", "Green", "Blue")):
        setattr(image, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (np.arange(256) * 257 * (number != 1)).astype(np.uint16)
        setattr(image, f"{colour}PaletteColorLookupTableData", table.tobytes())
    grey = RAMP // 5
    assert np.array_equal(decode(file(image), 10_000), np.stack([grey, grey * 0, grey], axis=-1))


def test_files_compressed_by_run_lengths_are_read():
    image = dataset(RAMP)
    image.compress(RLELossless)
    assert np.array_equal(decode(file(image), 10_000), RAMP)


def jpeg(data):
    image = dataset(RAMP)
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.PixelData = encapsulate([data])
    image["PixelData"].is_undefined_length = True
    return file(image)


def test_files_compressed_as_jpeg_are_read():
    stream = io.BytesIO()
    Image.fromarray(RAMP).save(stream, format="JPEG", quality=100)
    pixels = decode(jpeg(stream.getvalue()), 10_000)
    assert np.abs(pixels.astype(int) - RAMP).max() <= 3


def damaged(**elements):
    return file(dataset(RAMP, **elements))


REFUSED = {
    "several frames": (file(dataset(np.stack([RAMP] * 3))), None, "image", "holds 3 frames"),
    "a frame too many": (file(dataset(np.stack([RAMP] * 3))), 4, "frame", "frame 4 of 3"),
    "cut": (damaged()[:-20], None, "image", "cannot be decoded"),
    "cut in its head": (damaged()[:180], None, "image", "DICOM file"),
    "garbage": (b"\0" * 128 + b"DICM" + b"garbage" * 30, None, "image", "DICOM file"),
    "damaged JPEG": (jpeg(b"garbage."), None, "image", "cannot be decoded"),
    "rescaling by no number": (
        damaged(RescaleSlope="10.0", RescaleIntercept=0).replace(b"10.0", b"nan "),
        None, "image", "cannot be decoded",
    ),
    "too large": (damaged(Rows=60_000, Columns=60_000), None, "image", "decompression bomb"),
    "no pixels": (
        file(dataset(RAMP)).replace(b"\xe0\x7f\x10\x00", b"\xe1\x7f\x10\x00"),
        None, "image", "without pixels",
    ),
    "deflated": (
        damaged().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"),
        None, "image", "a deflated DICOM file",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "frame", "field", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_decoded_is_refused_with_the_reason(data, frame, field, reason):
    with pytest.raises(Refusal, match=reason) as caught:
        decode(data, 10_000, frame)
    assert caught.value.field == field
    assert caught.value.hint


def test_without_pydicom_the_hint_is_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(Refusal, match="pydicom is not installed") as caught:
        decode(damaged(), 10_000)
    assert caught.value.hint == "pip install 'vesselrl[dicom]'"


def test_an_entry_names_its_frame():
    frames = np.stack([RAMP, RAMP[::-1]])
    images = {"x.dcm": lambda: file(dataset(frames))}
    accepted = accept({"image": "x.dcm", "mask": [], "frame": 2}, images, {}, 10_000)
    assert accepted["frame"] == 2
    for wrong in (0, -1, 1.0, True, "2"):
        with pytest.raises(Refusal, match="found") as caught:
            accept({"image": "x.dcm", "mask": [], "frame": wrong}, images, {}, 10_000)
        assert caught.value.field == "frame"


def test_nothing_about_the_patient_leaves_the_file(caplog):
    good = damaged(PatientBirthDate="", WindowCenter=100, WindowWidth=50)
    bad = good.replace(b"8\0", SECRET[:2].encode(), 3)
    caplog.set_level(logging.DEBUG)
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told.append(accept({"image": "x.dcm", "mask": []}, {"x.dcm": lambda: good}, {}, 10_000))
        for data in (bad, good[:200], good[:-9], *(good[:k] for k in range(140, len(good), 7))):
            try:
                decode(data, 10_000)
            except Refusal as refusal:
                told.append((refusal.field, refusal.reason, refusal.hint))
    assert "Oduya" in str(good)
    assert len(told) > 10
    assert not any("Oduya" in str(line) for line in [*told, *caught, caplog.text])


def test_frames_are_counted_without_decoding_them():
    assert count_frames(file(dataset(np.stack([RAMP, RAMP]))), 1) == 2
    assert count_frames(file(dataset(RAMP)), 1) == 1
