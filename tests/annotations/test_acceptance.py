import errno
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vesselrl.annotations.acceptance import accept, name_of, read_sample, sample_ids
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.polygons import rasterise

SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]


def encoded(image, **options):
    stream = io.BytesIO()
    image.save(stream, **{"format": "PNG", **options})
    return stream.getvalue()


def picture(width=30, height=20, level=100):
    return encoded(Image.new("L", (width, height), level))


def film():
    frame = Image.new("L", (30, 20))
    return encoded(frame, format="TIFF", save_all=True, append_images=[frame])


def entry(image="x.png", mask=(SQUARE,), **more):
    return {"image": image, "mask": list(mask), **more}


FILES = {
    "x.png": picture,
    "y.png": picture,
    "cut.png": lambda: picture()[:-35],
    "bomb.png": lambda: encoded(Image.new("1", (20_000, 20_000))),
    "film.tif": film,
    "x.dcm": lambda: b"\0" * 128 + b"DICM",
}
MASKS = {
    "x.png": lambda: picture(level=0),
    "small.png": lambda: picture(8, 6, 0),
    "soft.png": lambda: encoded(Image.linear_gradient("L").resize((30, 20))),
}


def check(*raws, images=FILES):
    """What is accepted, and number and refusal of the others."""
    accepted, refused, taken = [], [], {}
    for number, raw in enumerate(raws):
        try:
            found = accept(raw, images, taken, 10_000, MASKS)
        except Refusal as refusal:
            refused.append((number, refusal))
        else:
            taken[found["file"]] = number
            accepted.append(found)
    return accepted, refused


# What was given; the field, the reason and the hint that the user reads.
REFUSED = {
    "no object": ([1, 2], "", "the entry is a list", "expected an object"),
    "null": (None, "", "the entry is null", "expected an object"),
    "no image": ({"mask": []}, "image", "'image' is missing; found: mask", "add 'image'"),
    "other name for image": (
        {"image_path": "x.png", "mask": []}, "image", "named 'image_path'", "expected 'image'",
    ),
    "other name for mask": (
        {"image": "x.png", "polygons": []}, "mask", "named 'polygons'", "expected 'mask'",
    ),
    "image is a number": (entry(7), "image", "the number 7", "name of a file"),
    "shares of the image": (
        entry(mask=[[0.1, 0.1, 0.5, 0.1, 0.5, 0.9], [0, 0, 1, 0, 1, 1]]), "mask",
        "x 0 to 1 and y 0 to 1: shares of the width and height, not pixels",
        "multiply each x by 30 and each y by 20",
    ),
    "image is empty": (entry(""), "image", 'the text ""', "name of a file"),
    "missing image": (entry("z.png"), "image", "no such file", "add the file"),
    "truncated image": (entry("cut.png"), "image", "truncated or damaged", "copy the file again"),
    "mask is text": (
        {"image": "x.png", "mask": "rle"}, "mask", 'the text "rle"', "list of polygons",
    ),
    "mask is one polygon": (entry(mask=SQUARE), "mask[0]", "the number 2", "one more pair"),
    "odd number": (entry(mask=[SQUARE[:-1]]), "mask[0]", "odd number of coordinates (7)", "pairs"),
    "two points": (entry(mask=[SQUARE, [1, 1, 5, 5]]), "mask[1]", "fewer than 3 points (2)", ""),
    "no points": (entry(mask=[[]]), "mask[0]", "fewer than 3 points (0)", ""),
    "NaN": (entry(mask=[[math.nan, *SQUARE[1:]]]), "mask[0][0]", "NaN", "finite number"),
    "infinite": (entry(mask=[[1, -math.inf, *SQUARE[2:]]]), "mask[0][1]", "-Infinity", "finite"),
    "huge": (entry(mask=[[10**400, *SQUARE[1:]]]), "mask[0][0]", "16 digits", "finite number"),
    "text": (entry(mask=[["2", *SQUARE[1:]]]), "mask[0][0]", 'the text "2"', "finite number"),
    "true": (entry(mask=[[True, *SQUARE[1:]]]), "mask[0][0]", "true", "finite number"),
    "pairs": (entry(mask=[[[2, 2], [9, 2], [9, 9]]]), "mask[0]", "pairs [x, y]", "inner brackets"),
    "too deep": (entry(mask=[[[SQUARE]]]), "mask[0][0]", "nested deeper", "list of polygons"),
    "both forms": (
        entry(mask=[SQUARE, [SQUARE]]), "mask[0][0]", "the number 2", "list of polygons",
    ),
    "text of another length": (
        entry(mask=[[SQUARE]], text=["a", "b"]), "text", "2 phrases for 1 objects", "one phrase",
    ),
    "wholly outside": (
        entry(mask=[SQUARE, [40, 2, 50, 2, 50, 9]]),
        "mask", "polygon 1 lies wholly outside the image of 30 × 20", "drawn on",
    ),
    "wholly outside on the left": (
        entry(mask=[[-9, 2, -3, 2, -3, 9]]), "mask", "polygon 0 lies wholly outside", "drawn on",
    ),
    "another image size": (
        entry(mask=[[5, 5, 70, 5, 70, 45]]),
        "mask", "fits only an image of at least 71 × 46", "scale",
    ),
    "x and y exchanged": (
        entry(mask=[[5, 8, 12, 8, 12, 28]]), "mask", "the image has 30 × 20", "exchange x and y",
    ),
    "x and y of one polygon of many exchanged": (
        entry(mask=[SQUARE, [5, 25, 12, 25, 12, 29]]), "mask", "polygon 1 lies", "exchange x and y",
    ),
    "decompression bomb": (
        entry("bomb.png"), "image", "too large, perhaps a decompression bomb", "reduce the image",
    ),
    "several frames": (entry("film.tif"), "image", "holds 2 frames", '"frame": 1'),
    "a frame too many": (entry("film.tif", frame=3), "frame", "frame 3 of 2", "1 to 2"),
    "no frame": (entry(frame="first"), "frame", 'the text "first"', "number, from 1"),
    "DICOM": (entry("x.dcm"), "image", "a DICOM file without pixels", "an image"),
    "stated size": (
        entry(stated_size=[30]), "stated_size", "size of the image is the number 30", "or neither",
    ),
    "other proportions": (
        entry(stated_size=[20, 30]), "mask", "for an image of 20 × 30 pixels", "turned or cropped",
    ),
    "run lengths": (
        {"image": "x.png", "mask": {"size": [20, 30], "counts": [7]}},
        "mask", "run lengths sum to 7; 20 rows × 30 columns have 600", "as COCO writes it",
    ),
    "object without run lengths": (
        entry(mask=[SQUARE, {"a": 1}]), "mask[1]", "without 'counts'", "as COCO writes it",
    ),
    "no mask file": (
        {"image": "x.png", "mask_file": "z.png"}, "mask_file", "no such file in masks/", "add the",
    ),
    "mask file is null": (
        {"image": "x.png", "mask_file": None}, "mask_file", "found null", "file in masks/",
    ),
    "soft mask file": (
        {"image": "x.png", "mask_file": "soft.png"}, "mask_file", "a soft mask", "threshold it",
    ),
    "mask file of another size": (
        {"image": "x.png", "mask_file": "small.png"},
        "mask_file", "the mask has 8 × 6 pixels; the image 30 × 20", "of the image's size",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "field", "reason", "hint"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_entry_is_refused_with_a_reason_and_the_rest_goes_on(given, field, reason, hint):
    accepted, ((number, refusal),) = check(given, entry("y.png"))
    assert [found["file"] for found in accepted] == ["y.png"]
    assert number == 0
    assert refusal.field == field
    assert reason in refusal.reason
    assert hint in refusal.hint
    assert isinstance(name_of(given), str)


@pytest.mark.parametrize(
    ("polygon", "size"),
    [([5, 8, 12, 8, 12, 28], (20, 20)), ([19.7, 8, 19.9, 8, 19.9, 9], (20, 20)),
     ([5, 8, 25, 8, 25, 28], (30, 20)), ([-9, 8, 12, 8, 12, 28], (30, 20))],
)  # fmt: skip
def test_coordinates_that_exchanged_fit_no_better_are_not_called_so(polygon, size):
    images = {"x.png": lambda: picture(*size)}
    with pytest.raises(Refusal) as caught:
        accept(entry(mask=[polygon]), images, {}, 10_000)
    assert caught.value.hint.startswith("use the image that the polygons were drawn on")


def test_of_entries_about_one_image_the_first_is_kept():
    (accepted,), ((_, refusal),) = check(entry(), entry("./x.png", mask=[]))
    assert accepted["polygons"] == [SQUARE]
    assert "entry 0 is about this image already" in refusal.reason


ACCEPTED = {
    "flat": (entry(), [SQUARE], ""),
    "nested": (entry(mask=[[SQUARE], [SQUARE]], text=["main", "side"]), [SQUARE] * 2, "main; side"),
    "nested, nothing seen": (entry(mask=[[]], text=["vessels"]), [], "vessels"),
    "empty": (entry(mask=[]), [], ""),
    "flat with text": (entry(text="the tree"), [SQUARE], "the tree"),
    "a little over the border": (entry(mask=[[2, 2, 30.5, 2, 9, 9]]), [[2, 2, 30.5, 2, 9, 9]], ""),
}


@pytest.mark.parametrize(("given", "polygons", "text"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_both_forms_are_read(given, polygons, text):
    (accepted,), refused = check(given)
    assert not refused
    assert (accepted["polygons"], accepted["text"]) == (polygons, text)
    assert (accepted["width"], accepted["height"]) == (30, 20)
    assert accepted["vessel_fraction"] == pytest.approx(
        rasterise(polygons, 20, 30).mean(), abs=1e-6
    )


def test_a_mask_of_null_is_an_image_without_label_and_an_empty_list_an_empty_mask():
    (nobody, nothing), _ = check({"image": "x.png", "mask": None}, entry("y.png", mask=[]))
    assert nobody["vessel_fraction"] is None
    assert nothing["vessel_fraction"] == 0
    assert read_sample({"image": "x.png", "mask": None}, FILES, 10_000).mask is None
    assert not read_sample(entry(mask=[]), FILES, 10_000).mask.any()


def test_an_image_without_label_is_checked_as_any_other():
    raws = [
        {"image": name, "mask": None} for name in ("cut.png", "z.png", "../x.png", "x.png", "x.png")
    ]
    (accepted,), refused = check(*raws)
    assert (accepted["width"], accepted["height"], len(accepted["sha256"])) == (30, 20, 64)
    assert [number for number, _ in refused] == [0, 1, 2, 4]
    assert "a duplicate" in refused[-1][1].reason


def test_every_form_may_be_mixed_and_is_drawn_as_one_mask():
    rle = {"size": [20, 30], "counts": [203, 3, 394]}
    drawn = rasterise([SQUARE], 20, 30)
    drawn[3:6, 10] = True
    for mask in ([SQUARE, rle], [[SQUARE], rle], [rle, [SQUARE]]):
        sample = read_sample(entry(mask=mask), FILES, 10_000)
        assert np.array_equal(sample.mask, drawn)
        assert sample.image.shape == (20, 30)
    assert not read_sample(
        {"image": "x.png", "mask_file": "x.png"}, FILES, 10_000, MASKS
    ).mask.any()


def test_polygons_are_scaled_when_the_size_that_they_are_for_is_stated():
    (accepted,), _ = check(entry(mask=[[4, 4, 18, 4, 18, 18, 4, 18]], stated_size=[60, 40]))
    assert accepted["polygons"] == [SQUARE]
    assert not accepted["clipped"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FORMS = st.sampled_from(["x.png", "y.png", "cut.png", "../x.png", "\ud800.png"]) | JSON
POLYGON = st.lists(st.integers(-5, 40) | st.floats() | JSON, max_size=8) | st.just(SQUARE)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"image": FORMS, "mask": st.lists(POLYGON, max_size=3) | JSON, "text": JSON}
    )
    | JSON,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(ENTRIES)
def test_accepted_and_refused_are_all_entries_whatever_they_hold(entries):
    accepted, refused = check(*entries)
    assert len(accepted) + len(refused) == len(entries)
    assert all(refusal.reason and refusal.hint for _, refusal in refused)
    assert json.loads(json.dumps(accepted)) == accepted


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "sub" / "x.png").write_bytes(b"inside")
    for name in (".hidden.png", "x.json"):
        (tmp_path / "images" / "sub" / name).write_bytes(b"no image")
    (tmp_path / "secret.png").write_bytes(b"outside")
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    return ImageFolder(tmp_path / "images")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("/etc/passwd", "an absolute path"),
        ("C:\\x.png", "an absolute path"),
        ("../secret.png", "leads out of images/ by '..'"),
        ("sub\\..\\..\\secret.png", "leads out of images/ by '..'"),
        ("link.png", "a link that leads out of images/"),
        ("sub", "no such file"),
        ("null\0.png", "control character"),
        ("x" * 5000, "no such file"),
    ],
)
def test_nothing_outside_the_folder_of_images_is_read(folder, file, reason):
    accepted, ((_, refusal),) = check(entry(file), images=folder)
    assert not accepted
    assert reason in refusal.reason


def test_the_folder_lists_its_images(folder):
    assert list(folder) == ["link.png", "sub/x.png"]
    assert folder["sub/x.png"]() == b"inside"


def test_equal_stems_get_the_suffix_as_well():
    assert list(sample_ids(["a.png", "b.png", "b.jpg", "c/a.tif", "...png"]).values()) == [
        "a.png", "b.png", "b.jpg", "a.tif", "...png",
    ]  # fmt: skip
    assert len(set(sample_ids(["x/a.png", "y/a.png", "a.png", "a.png.png"]).values())) == 4


def test_ids_are_apart_where_capitals_do_not_count():
    ids = sample_ids(["x/a.png", "y/A.png", "z/A.PNG"]).values()
    assert len({sample.casefold() for sample in ids}) == 3


def test_a_file_without_permission_is_refused():
    def denied():
        raise PermissionError(errno.EACCES, "Permission denied")

    _, ((_, refusal),) = check(entry(), images={"x.png": denied})
    assert "cannot be read: Permission denied" in refusal.reason
