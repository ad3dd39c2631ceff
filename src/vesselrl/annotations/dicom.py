"""DICOM files → pixels. Needs the extra ``dicom``.

Only the elements that describe pixels are read; names, dates and numbers of patients never leave
the file, not in an error or a log line either.
"""

import io
import math
import warnings
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.jpeg import refuse_many_scans

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]

_PIXEL_ELEMENTS = [
    "BitsAllocated", "BitsStored", "BluePaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor", "Columns", "GreenPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableDescriptor", "HighBit", "ModalityLUTSequence", "NumberOfFrames",
    "PhotometricInterpretation", "PixelData", "PixelRepresentation", "PlanarConfiguration",
    "RedPaletteColorLookupTableData", "RedPaletteColorLookupTableDescriptor", "RescaleIntercept",
    "RescaleSlope", "Rows", "SamplesPerPixel", "VOILUTFunction", "WindowCenter", "WindowWidth",
]  # fmt: skip
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file (part 10)."""
    return data[128:132] == b"DICM"


def decode_dicom(data: bytes, max_pixels: int, frame: int | None) -> Pixels:
    """Decode one frame.

    Grey values are rescaled, then windowed by the first window that the file states, by the
    formula of its ``VOILUTFunction`` (PS3.3, C.11.2.1); without a window the whole range of the
    stored bits goes from black to white. ``MONOCHROME1`` is inverted, so that more is brighter.
    Palettes are expanded, and YBR becomes RGB.

    Args:
        data: the bytes of the file.
        max_pixels: a larger frame is refused before it is decoded.
        frame: which frame, from 1 as DICOM counts; None for a file of one.

    Returns:
        uint8 (H, W), or (H, W, 3) for colours.

    Raises:
        Refusal: pydicom is not installed, the file is damaged or compressed in an unknown way, too
            large, or of several frames when none is named.
    """
    with _opened(data, _PIXEL_ELEMENTS) as dataset:
        _check(dataset, _frames(dataset), max_pixels, frame)
        _check_compressed(dataset, (frame or 1) - 1)
        return _pixels(dataset, (frame or 1) - 1)


def count_dicom_frames(data: bytes) -> int:
    """How many frames a file holds.

    Raises:
        Refusal: pydicom is not installed, or the file is damaged or compressed in an unknown way.
    """
    with _opened(data, ["NumberOfFrames"]) as dataset:
        return _frames(dataset)


def _frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


@contextmanager
def _opened(data: bytes, elements: list[str]) -> Iterator[Any]:
    """These elements of the file; whatever goes wrong with them is a refusal."""
    try:
        import pydicom
    except ImportError:
        raise Refusal(
            "image", "a DICOM file, and pydicom is not installed", "pip install 'vesselrl[dicom]'"
        ) from None
    if _DEFLATED in data:  # pydicom would unpack it, whatever its size
        raise Refusal("image", "a deflated DICOM file", "save it uncompressed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote elements
            yield pydicom.dcmread(io.BytesIO(data), specific_tags=[*elements])
    except Refusal:
        raise
    # pydicom raises errors of many kinds on damaged files, and its messages quote elements.
    except Exception as error:
        raise Refusal(
            "image",
            f"a DICOM file that cannot be decoded ({type(error).__name__})",
            "save it uncompressed, or as PNG; if it is damaged, copy it again from its source",
        ) from None


def _check(dataset: Any, frames: int, max_pixels: int, frame: int | None) -> None:
    if "PixelData" not in dataset:
        raise Refusal("image", "a DICOM file without pixels", "expected an image")
    if dataset.Rows * dataset.Columns > max_pixels:
        raise Refusal(
            "image",
            f"too large, perhaps a decompression bomb: {dataset.Columns} × {dataset.Rows} pixels, "
            f"more than the limit of {max_pixels:,}",
            "reduce the image, or raise ingest.max_pixels if you trust it",
        )
    if frame is None and frames > 1:
        raise Refusal(
            "image", f"the file holds {frames} frames", 'name the one annotated: "frame": 1, …'
        )
    if frame is not None and frame > frames:
        raise Refusal("frame", f"frame {frame} of {frames}", f"expected 1 to {frames}")


def _check_compressed(dataset: Any, index: int) -> None:
    """Refuse a JPEG picture within the file that is larger than the file says."""
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        return
    data = get_frame(dataset.PixelData, index, number_of_frames=_frames(dataset))
    refuse_many_scans(data)
    with suppress(UnidentifiedImageError):  # other kinds of JPEG, for other packages to decode
        width, height = Image.open(io.BytesIO(data), formats=("JPEG", "JPEG2000")).size
        if width * height > dataset.Columns * dataset.Rows:
            raise ValueError("the compressed picture is larger than the file says")


def _pixels(dataset: Any, index: int) -> Pixels:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    stored = pixel_array(dataset, index=index)
    kind = dataset.PhotometricInterpretation
    bits = int(dataset.BitsStored)
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return _scaled(colours, 0, 2 ** (8 * colours.dtype.itemsize) - 1)
    if stored.ndim == 3:
        return _scaled(stored, 0, 2**bits - 1)
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    ends = np.array([lowest, lowest + 2**bits - 1])
    values = apply_modality_lut(stored, dataset).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the rescaling leads to what is no number")
    window = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if window[0] is not None and window[1] is not None and window[1] > 0:
        grey = _windowed(values, window[0], window[1], dataset.get("VOILUTFunction", "LINEAR"))
    else:
        # The outermost of stored integers are what a table or a slope of either sign makes of them.
        low, high = sorted(np.asarray(apply_modality_lut(ends, dataset), dtype=float).tolist())
        grey = _scaled(values, low, high)
    return 255 - grey if kind == "MONOCHROME1" else grey


def _windowed(values: Values, centre: float, width: float, function: str) -> Pixels:
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - centre) / width, -50, 50)
        return np.rint(255 / (1 + np.exp(exponent))).astype(np.uint8)
    if function == "LINEAR_EXACT":
        return _scaled(values, centre - width / 2, centre + width / 2)
    return _scaled(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _scaled(values: Values, low: float, high: float) -> Pixels:
    """From low, black, to high, white; all above a threshold is white where the two are one."""
    if high <= low:
        return ((values > low) * 255).astype(np.uint8)
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(share * 255).astype(np.uint8)


def _first(value: Any) -> float | None:
    """The first of one or several values; None without one, or if it is no finite number."""
    values = list(value) if isinstance(value, MutableSequence) else [value]
    first = float(values[0]) if values and values[0] not in (None, "") else math.nan
    return first if math.isfinite(first) else None
