import json
import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vesselrl.annotations.polygons import polygonise
from vesselrl.annotations.rle import compressed
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.imports import match_results, open_results

HEIGHT, WIDTH = 20, 30
SAMPLES = pd.DataFrame(
    {
        "id": ["a", "b.1", "c.png", "c.jpg", "d", "trained"],
        "file": ["a.jpg", "b.1.png", "c.png", "c.jpg", "deep/d.tif", "trained.png"],
        "width": WIDTH,
        "height": HEIGHT,
        "split": ["test"] * 5 + ["train"],
    }
)
RANDOM = np.random.default_rng(0)
MASKS = {sample: RANDOM.random((HEIGHT, WIDTH)) > 0.7 for sample in SAMPLES["id"]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


def save(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def match(path, samples=SAMPLES, original=None, max_pixels=10**6):
    return match_results("mine", open_results(path), samples, original or {}, max_pixels)


def found(makers):
    return {sample: make() for sample, make in makers.items()}


def assert_masks(makers, *samples):
    masks = found(makers)
    assert set(masks) == set(samples)
    for sample in samples:
        np.testing.assert_array_equal(masks[sample], MASKS[sample], strict=True)


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("a.png", "a"),
        ("a.jpg.png", "a"),
        ("b.1.png", "b.1"),
        ("c.png.png", "c.png"),
        ("c.jpg.png", "c.jpg"),
        ("c.png", "c.png"),
        ("d.png", "d"),
        ("deep/d.png", "d"),
    ],
)
@pytest.mark.parametrize("value", [True, 1, 255])
def test_a_mask_is_found_by_id_or_file_name_whatever_its_white_is(folder, name, sample, value):
    mask = MASKS[sample]
    save(folder / name, mask if value is True else (mask * value).astype(np.uint8))
    assert_masks(match(folder), sample)


def test_masks_of_no_test_image_are_ignored_and_counted(folder, caplog):
    caplog.set_level(logging.INFO)
    for name in ("a.png", "trained.png", "other.png", "deep/a.png"):
        save(folder / name, MASKS["a"])
    (folder / "readme.txt").write_text("hello")
    assert_masks(match(folder), "a")
    assert "Method ‘mine’: 4 masks of no test image are ignored." in caplog.text


def test_a_name_that_fits_two_images_fits_none(folder):
    samples = SAMPLES.assign(
        id=["a", "b", "x.png", "x.jpg", "d", "t"],
        file=["a.jpg", "b.png", "x.bmp", "x.jpg", "d.tif", "t"],
    )
    save(folder / "x.png", MASKS["a"])
    assert list(match(folder, samples)) == ["x.png"]  # by its id, in full
    save(folder / "x.tif", MASKS["a"])
    assert list(match(folder, samples)) == ["x.png"]


def test_where_nothing_is_no_masks_are_found(folder):
    assert match(folder) == {}
    assert match(folder / "gone") == {}


@pytest.mark.parametrize("mask", [np.zeros, np.ones])
def test_a_method_may_find_nothing_or_everything(folder, mask):
    mask = mask((HEIGHT, WIDTH), bool)
    save(folder / "a.png", mask)
    np.testing.assert_array_equal(found(match(folder))["a"], mask)


def test_a_mask_of_another_size_is_refused_with_both_sizes_and_its_name(folder):
    save(folder / "a.png", np.zeros((WIDTH, HEIGHT), bool))
    with pytest.raises(VesselrlError) as caught:
        found(match(folder))
    for words in ("‘mine’", "a.png", "20 × 30 pixels; the image 30 × 20", "never resized"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"no picture", "not an image"), (None, "a soft mask: 200")],
)
def test_what_is_no_mask_is_refused_by_its_name(folder, content, reason):
    if content is None:
        save(folder / "a.png", (np.arange(600).reshape(20, 30) % 200).astype(np.uint8))
    else:
        (folder / "a.png").write_bytes(content)
    with pytest.raises(VesselrlError, match=rf"a.png \(image a\) cannot be used: {reason}"):
        found(match(folder))


def test_two_masks_of_one_image_are_refused(folder):
    save(folder / "d.png", MASKS["d"])
    save(folder / "deep/d.png", MASKS["d"])
    with pytest.raises(VesselrlError, match=r"two masks of image d \(d.png and deep/d.png\)"):
        match(folder)


def flat(mask):
    return polygonise(mask)


def nested(mask):
    return [polygonise(mask)]


def run_lengths(mask):
    column = np.concatenate([[False], mask.ravel(order="F"), [False]])
    ends = np.flatnonzero(np.diff(column.astype(int)))
    counts = np.diff([0, *ends, mask.size]).tolist()
    return {"size": list(mask.shape), "counts": compressed(counts)}


@pytest.mark.parametrize("form", [flat, nested, run_lengths])
@pytest.mark.parametrize("named", ["folder", "file"])
def test_annotations_are_drawn_in_every_form(folder, form, named):
    entries = [{"image": "a.jpg", "mask": form(MASKS["a"])}, {"image": "d", "mask": []}, 5]
    file = folder / "annotations.json"
    file.write_text(json.dumps(entries))
    masks = found(match(folder if named == "folder" else file))
    np.testing.assert_array_equal(masks["a"], MASKS["a"])
    assert not masks["d"].any()


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ([[0, 0, 5, 0, 500, 500]], "fits only an image of at least 501 × 501"),
        ([[1, 2, 3]], "odd number of coordinates"),
        (None, "found null; expected a mask"),
        (run_lengths(np.ones((40, 60), bool)), "the mask has 60 × 40 pixels; the image 30 × 20"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(folder, mask, reason):
    (folder / "annotations.json").write_text(json.dumps([{"image": "a.jpg", "mask": mask}]))
    with pytest.raises(VesselrlError, match=rf"a.jpg \(image a\) cannot be used: .*{reason}"):
        found(match(folder))


def test_a_file_that_is_neither_is_refused_by_its_path(folder):
    (folder / "masks.zip").write_bytes(b"PK")
    with pytest.raises(VesselrlError, match=r"masks.zip holds no finished masks: expected"):
        match(folder / "masks.zip")


@pytest.fixture
def hidden():
    """The samples under pseudonyms, and what those of the files stand for."""
    pseudonyms = [f"img-{number:016x}" for number in range(len(SAMPLES))]
    suffixes = [file[file.rindex(".") :] for file in SAMPLES["file"]]
    files = [name + suffix for name, suffix in zip(pseudonyms, suffixes, strict=True)]
    original = dict(zip(files, SAMPLES["file"], strict=True))
    return SAMPLES.assign(id=pseudonyms, file=files), original


@pytest.mark.parametrize("name", ["a.png", "a.jpg.png", "img-0000000000000000.png"])
def test_with_pseudonyms_masks_are_found_by_their_makers_names_and_known_by_ids(
    folder, hidden, name
):
    save(folder / name, MASKS["a"])
    masks = found(match(folder, *hidden))
    assert list(masks) == ["img-0000000000000000"]
    np.testing.assert_array_equal(masks["img-0000000000000000"], MASKS["a"])


def test_with_pseudonyms_no_message_holds_a_name(folder, hidden, caplog):
    caplog.set_level(logging.DEBUG)
    samples, original = hidden
    save(folder / "d.png", np.zeros((5, 6), bool))
    save(folder / "Mustermann.png", MASKS["a"])
    with pytest.raises(VesselrlError) as caught:
        found(match(folder, samples, original))
    save(folder / "deep/d.png", MASKS["d"])
    with pytest.raises(VesselrlError) as twice:
        match(folder, samples, original)
    said = caplog.text + str(caught.value) + str(twice.value)
    assert "6 × 5 pixels; the image 30 × 20" in said
    assert "img-0000000000000004" in said
    assert "d.png" not in said
    assert "Mustermann" not in said
