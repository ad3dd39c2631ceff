import io

import numpy as np
import pytest
from PIL import Image

from vesselrl.annotations.acceptance import accept
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.mask_files import decode_mask, entries_of_masks

MASK = np.zeros((6, 8), dtype=bool)
MASK[2:4, 1:5] = True
LABELS = MASK * np.uint8(1)
LABELS[2, 2] = 2


def encoded(image, **options):
    stream = io.BytesIO()
    image.save(stream, **{"format": "PNG", **options})
    return stream.getvalue()


def palette(*colours):
    image = Image.fromarray(MASK.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    return image


def transparent():
    pixels = np.full((6, 8, 4), 255, dtype=np.uint8)
    pixels[~MASK, 3] = 0
    return Image.fromarray(pixels)


KINDS = {
    "0 and 255": Image.fromarray(MASK * np.uint8(255)),
    "0 and 1": Image.fromarray(MASK * np.uint8(1)),
    "bool": Image.fromarray(MASK),
    "labels": Image.fromarray(LABELS),
    "16 bits": Image.fromarray(MASK * np.uint16(65535)),
    "palette": palette((0, 0, 0), (200, 0, 0)),
    "colour": Image.fromarray(MASK[..., None] * np.array([0, 9, 0], np.uint8)),
    "opaque": Image.fromarray(MASK * np.uint8(255)).convert("RGBA"),
    "white on transparent": transparent(),
    "grey with transparency": Image.fromarray(MASK * np.uint8(255)).convert("LA"),
}  # fmt: skip


@pytest.mark.parametrize("image", KINDS.values(), ids=KINDS.keys())
def test_vessel_is_what_is_not_background_in_every_kind_of_file(image):
    mask = decode_mask(encoded(image), 100)
    assert mask.dtype == bool
    assert np.array_equal(mask, MASK)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF"])
def test_every_lossless_format_is_read(format):
    assert np.array_equal(decode_mask(encoded(KINDS["0 and 255"], format=format), 100), MASK)


@pytest.mark.parametrize("quality", [95, 75, 50])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_mask_of_jpeg_is_what_it_was_before_compression(quality, mode):
    rows, columns = np.mgrid[:200, :200]
    truth = abs(np.hypot(rows, columns) - 150) < 4
    image = Image.fromarray(truth * np.uint8(255)).convert(mode)
    data = encoded(image, format="JPEG", quality=quality)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(data))))) > 2
    assert np.array_equal(decode_mask(data, 100_000), truth)


@pytest.mark.parametrize("level", [70, 120, 150])
def test_a_jpeg_whose_vessels_are_grey_is_refused_however_few_they_are(level):
    grey = np.zeros((200, 200), np.uint8)
    grey[100:103, 50:150] = level
    with pytest.raises(Refusal, match="values of at most"):
        decode_mask(encoded(Image.fromarray(grey), format="JPEG"), 100_000)


def test_an_all_black_jpeg_is_an_empty_mask():
    assert not decode_mask(encoded(Image.new("L", (8, 6)), format="JPEG"), 100).any()


def test_floating_point_masks_of_zero_and_one_are_read():
    image = Image.fromarray(MASK.astype(np.float32))
    assert np.array_equal(decode_mask(encoded(image, format="TIFF"), 100), MASK)


def test_an_all_black_file_is_an_empty_mask():
    assert not decode_mask(encoded(Image.new("L", (8, 6))), 100).any()


def test_masks_are_turned_as_images_are():
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(KINDS["0 and 255"], exif=exif)
    assert np.array_equal(decode_mask(data, 100), np.rot90(MASK, -1))


RAMP = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
REFUSED = {
    "soft": (encoded(RAMP), "a soft mask: 48 different values"),
    "a picture": (
        encoded(Image.new("L", (8, 6), 128), format="JPEG"),
        "a soft mask: 100% of its pixels are neither black nor white",
    ),
    "lossy labels": (
        encoded(Image.new("L", (8, 6), 2), format="JPEG"),
        "a JPEG file with values of at most 2",
    ),
    "no background": (encoded(Image.new("L", (8, 6), 255)), "no pixel is background"),
    "bomb": (encoded(Image.new("1", (20_000, 20_000))), "perhaps a decompression bomb"),
    "no image": (b"text", "not an image"),
    "cut": (encoded(RAMP)[:-30], "truncated or damaged"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_mask_is_refused_with_the_reason(data, reason):
    with pytest.raises(Refusal, match=reason) as caught:
        decode_mask(data, 100)
    assert caught.value.field == "mask_file"


def test_a_mask_belongs_to_the_image_of_its_stem():
    images = ["a.jpg", "b.png", "b.jpg", "sub/c.png"]
    entries = list(entries_of_masks(images, ["a.png", "b.bmp", "b.png", "sub/c.tif", "z.png"]))
    assert [entry.get("mask_file") for entry in entries] == [
        "a.png", None, "b.png", "sub/c.tif", None,
    ]  # fmt: skip
    assert [entry["image"] for entry in entries] == [
        "a.jpg", "b.bmp", "b.png", "sub/c.png", "z.png",
    ]  # fmt: skip
    assert "2 images have the stem of this mask" in entries[1]["refused"][1]
    assert "no image in images/ has the stem of this mask" in entries[4]["refused"][1]


def pairs(images, masks):
    return [(e["image"], e.get("mask_file")) for e in entries_of_masks(images, masks)]


def test_an_ending_of_the_masks_names_is_left_out():
    found = pairs(["12.png", "sub/13.png"], ["12_mask.png", "sub/13_mask.png", "notes.txt"])
    assert found == [
        ("12.png", "12_mask.png"), ("sub/13.png", "sub/13_mask.png"), ("notes.txt", None),
    ]  # fmt: skip


def test_endings_of_masks_and_of_images_are_left_out():
    found = pairs(["21_training.tif", "22_training.tif"], ["21_manual1.gif", "22_manual1.gif"])
    assert found == [("21_training.tif", "21_manual1.gif"), ("22_training.tif", "22_manual1.gif")]


def test_images_of_which_only_the_endings_differ_are_not_guessed_among():
    images = ["21_left.png", "21_right.png", "22_left.png"]
    found = pairs(images, ["21_vessel.png", "22_vessel.png"])
    assert found == [("21_vessel.png", None), ("22_left.png", "22_vessel.png")]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["p1-f1", "p2-f3"], ["p1_f2", "p2_f2"]),
        (["p1-f1"], ["p1_f1"]),
        (["p1", "p1-f1", "p2-f1"], ["p1_F2", "p3_F2"]),
        (["21_left", "22_right"], ["21-right", "22-right"]),
    ],
)
def test_an_ending_that_images_have_as_well_tells_files_apart(images, masks):
    found = list(entries_of_masks([f"{i}.png" for i in images], [f"{m}.png" for m in masks]))
    assert [entry["image"] for entry in found] == [f"{mask}.png" for mask in masks]
    assert all("no image in images/ has the stem" in entry["refused"][1] for entry in found)


def test_an_image_without_ending_does_not_keep_those_of_others_in_place():
    assert pairs(["12_image.png", "scan.png"], ["12.png"]) == [("12_image.png", "12.png")]


def test_images_may_have_different_endings():
    found = pairs(["21_training.tif", "01_test.tif"], ["21_manual1.gif", "01_manual1.gif"])
    assert found == [("21_training.tif", "21_manual1.gif"), ("01_test.tif", "01_manual1.gif")]


def test_an_ending_is_not_left_out_where_a_mask_has_the_stem_of_an_image():
    found = pairs(["12.png", "13.png"], ["12_mask.png", "13.png", "14_mask.png"])
    assert found == [("12_mask.png", None), ("13.png", "13.png"), ("14_mask.png", None)]


def test_a_number_at_the_end_of_a_name_is_no_ending():
    assert pairs(["p1.png", "p2.png"], ["p1_7.png", "p2_7.png"]) == [
        ("p1_7.png", None), ("p2_7.png", None),
    ]  # fmt: skip


def test_a_mask_of_another_size_than_the_image_is_refused():
    images = {"a.png": lambda: encoded(Image.new("L", (30, 20)))}
    masks = {"a.png": lambda: encoded(KINDS["bool"])}
    with pytest.raises(Refusal, match="the mask has 8 × 6 pixels; the image 30 × 20"):
        accept({"image": "a.png", "mask_file": "a.png"}, images, {}, 1000, masks)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.png", "leads out of masks/ by '..'"),
        ("/etc/passwd", "an absolute path"),
        ("link.png", "a link that leads out of masks/"),
        ("gone.png", "no such file in masks/"),
        (7, "found the number 7"),
    ],
)
def test_nothing_outside_the_folder_of_masks_is_read(tmp_path, name, reason):
    (tmp_path / "masks").mkdir()
    (tmp_path / "secret.png").write_bytes(encoded(KINDS["bool"]))
    (tmp_path / "masks" / "link.png").symlink_to(tmp_path / "secret.png")
    images = {"a.png": lambda: encoded(Image.new("L", (8, 6)))}
    folder = ImageFolder(tmp_path / "masks", "mask_file")
    with pytest.raises(Refusal, match=reason) as caught:
        accept({"image": "a.png", "mask_file": name}, images, {}, 1000, folder)
    assert caught.value.field == "mask_file"
