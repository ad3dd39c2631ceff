"""Annotations and images mutated at random: none may stop the run but by a sentence."""

import copy
import io
import json
import math
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from vesselrl.annotations.acceptance import accept, name_of
from vesselrl.annotations.dicom import is_dicom
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.mask_files import decode_mask
from vesselrl.annotations.pictures import decode
from vesselrl.annotations.sources import open_source
from vesselrl.errors import VesselrlError

DOCUMENTS = 2000
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
RLE = {"size": [20, 30], "counts": [203, 3, 17, 3, 374]}
TEXT_RLE = {"size": [10, 9], "counts": "61X13mN000`0"}
VALID = {
    "flat": [{"image": name, "mask": [SQUARE, SQUARE]} for name in ("a.png", "b.png", "c.png")],
    "nested": [
        {"image": "a.png", "mask": [[SQUARE], [SQUARE, SQUARE]], "text": ["main", "side"]},
        {"image": "b.png", "mask": [[]], "text": ["none"]},
        {"image": "c.png", "mask_file": "c.png", "frame": 1, "stated_size": [30, 20]},
    ],
    "coco": {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 30, "height": 20},
            {"id": 2, "file_name": "b.png", "width": 60, "height": 40},
        ],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": [SQUARE]},
            {"image_id": 1, "category_id": 1, "segmentation": RLE},
            {"image_id": 2, "category_id": 1, "segmentation": TEXT_RLE},
        ],
        "categories": [{"id": 1, "name": "vessel"}],
    },
    "labelme": {
        "shapes": [
            {"label": "v", "points": [[2, 2], [9, 2], [9, 9]], "shape_type": "polygon"},
            {"label": "v", "points": [[2, 2], [9, 9]], "shape_type": "circle"},
            {"label": "v", "points": [[2, 2], [9, 9]], "shape_type": "rectangle"},
        ],
        "imagePath": "a.png", "imageWidth": 30, "imageHeight": 20,
    },
}  # fmt: skip
VALUES = [
    None, True, 0, -1, 1, 3.5, 10**18, 10**400, 1e308, -1e308, math.nan, math.inf, -math.inf, "",
    "12", "a.png", "../a.png", "/etc/passwd", "\ud800", "\0", "x" * 5000, [], {}, [[]], [[[[1]]]],
    [None], {"counts": "~"}, {"size": [2**31, 2**31], "counts": [2**62]}, SQUARE, RLE, TEXT_RLE,
]  # fmt: skip


def places(document):
    """Every container with every key or index in it."""
    found = []
    stack = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            found += [(node, key) for key in keys]
            stack += [node[key] for key in keys]
    return found


def mutated(chance, document):
    """A copy of a document with one to four of its places changed."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 4)):
        found = places(document)
        if not found:
            break
        node, key = chance.choice(found)
        kind = chance.random()
        if kind < 0.5:
            node[key] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.65:
            del node[key]
        elif kind < 0.75 and isinstance(node, dict):
            node[chance.choice(["image_path", "points", "x", "mask"])] = node.pop(key)
        elif kind < 0.85:
            node[key] = [node[key]]
        else:
            other, at = chance.choice(found)
            node[key] = copy.deepcopy(other[at])
    return document


def written(chance, document):
    """The bytes of a file, one in five of them damaged as bytes."""
    text = json.dumps(document, indent=chance.choice([None, 1]))
    kind = chance.random()
    if kind < 0.05:
        return text[: chance.randrange(len(text) + 1)].encode()
    if kind < 0.08:
        return text.encode(chance.choice(["utf-16", "utf-32", "utf-8-sig"]))
    if kind < 0.12:
        data = bytearray(text.encode() or b" ")
        data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)
    if kind < 0.15:
        depth = chance.choice([50, 900, 50_000])
        return b'[{"image": "a.png", "mask": ' + b"[" * depth + b"]" * depth + b"}]"
    return text.encode()


@pytest.fixture
def raw_dir(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png", "c.png"):
            stream = io.BytesIO()
            Image.new("L", (30, 20)).save(stream, format="PNG")
            (tmp_path / folder / name).write_bytes(stream.getvalue())
    return tmp_path


def told_by(raws, images, masks):
    """Each entry's outcome: what was accepted, or the refusal."""
    taken = {}
    for number, raw in enumerate(raws):
        try:
            accepted = accept(raw, images, taken, 10_000, masks)
        except Refusal as refusal:
            yield refusal
        else:
            taken[accepted["file"]] = number
            yield accepted


def sentence_that_stops(raw_dir, format):
    try:
        return list(open_source(raw_dir, format)), ""
    except VesselrlError as error:
        return [], str(error)


@pytest.mark.filterwarnings("error")
def test_two_thousand_mutated_documents_are_told_entry_by_entry(raw_dir):
    chance = random.Random(0)
    outcomes = Counter()
    images, masks = ImageFolder(raw_dir / "images"), ImageFolder(raw_dir / "masks", "mask_file")
    for _ in range(DOCUMENTS):
        form = chance.choice(list(VALID))
        data = written(chance, mutated(chance, VALID[form]))
        (raw_dir / ("x.json" if form == "labelme" else "annotations.json")).write_bytes(data)
        raws, sentence = sentence_that_stops(raw_dir, "labelme" if form == "labelme" else "auto")
        told = list(told_by(raws, images, masks))
        assert len(told) == len(raws)
        assert all(isinstance(name_of(raw), str) for raw in raws)
        outcomes["stopped"] += bool(sentence)
        assert sentence.endswith(".") or not sentence
        for outcome in told:
            outcomes[type(outcome).__name__] += 1
            if isinstance(outcome, Refusal):
                assert outcome.reason
                assert outcome.hint
                f"{outcome.field} {outcome.reason} {outcome.hint}".encode()
            else:
                assert json.loads(json.dumps(outcome)) == outcome
                assert draw_mask(outcome, masks, 10_000).shape == (20, 30)
    assert outcomes["stopped"] > 100
    assert outcomes["Refusal"] > 500
    assert outcomes["dict"] > 500


def dicom_file():
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    stream = io.BytesIO()
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = "1.2.3"
    image.Rows, image.Columns, image.SamplesPerPixel = 20, 30, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.WindowCenter, image.WindowWidth, image.RescaleSlope = [300, 5], [500, 6], 2
    image.RescaleIntercept, image.PixelData = 0, pixels.tobytes()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def picture_files():
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    for format in ("PNG", "TIFF", "BMP", "JPEG", "GIF", "PPM", "JPEG2000", "WEBP"):
        for image in (Image.fromarray(pixels.astype(np.uint8)), Image.fromarray(pixels)):
            if image.mode == "L" or format in ("PNG", "TIFF"):
                stream = io.BytesIO()
                image.save(stream, format=format)
                yield stream.getvalue()
    yield dicom_file()


def damaged(chance, data):
    """Some of the bytes of a file changed, and one file in four cut."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(min(len(data), chance.choice([60, 500, len(data)])))
        data[place] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.25 else data)


def outcome_of(read):
    try:
        return read()
    except Refusal as refusal:
        return refusal


@pytest.mark.filterwarnings("error")
def test_damaged_image_files_are_decoded_or_refused():
    chance = random.Random(1)
    outcomes = Counter()
    for data in picture_files():
        assert decode(data, 10_000).shape == (20, 30) or b"WEBP" in data
        for _ in range(150):
            changed = damaged(chance, data)
            frame = chance.choice([None, None, 1, 3])
            found = outcome_of(lambda changed=changed, frame=frame: decode(changed, 10_000, frame))
            outcomes[type(found).__name__, is_dicom(data)] += 1
            if isinstance(found, np.ndarray):
                assert found.dtype == np.uint8
                assert found.shape[0] * found.shape[1] <= 10_000
            else:
                assert found.reason
                assert found.hint
            outcome_of(lambda changed=changed: decode_mask(changed, 10_000))
    assert min(outcomes.values()) > 20
    assert len(outcomes) == 4
