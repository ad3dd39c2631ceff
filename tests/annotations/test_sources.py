import json
import pickle

import numpy as np
import pytest
from PIL import Image

from vesselrl.annotations.acceptance import accept, read_sample
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import Refusal, refused
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.labelme import UNCHECKED
from vesselrl.annotations.polygons import rasterise
from vesselrl.annotations.sources import open_source, with_unannotated
from vesselrl.errors import VesselrlError

SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
MASK = rasterise([SQUARE], 20, 30)
FLAT = [{"image": "a.png", "mask": [SQUARE]}, {"image": "b.png", "mask": []}]
NESTED = [{"image": "a.png", "mask": [[SQUARE]], "text": ["tree"]}]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]}],
    "categories": [{"id": 1, "name": "vessel"}],
}
LABELME = {
    "version": "5.4.1",
    "flags": {},
    "shapes": [
        {
            "label": "vessel", "points": [[2, 2], [9, 2], [9, 9], [2, 9]],
            "shape_type": "polygon", "group_id": None, "flags": {},
        }
    ],
    "imagePath": "..\\scans\\a.png",
    "imageData": None,
    "imageHeight": 20,
    "imageWidth": 30,
}  # fmt: skip


@pytest.fixture
def raw_dir(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (30, 20), 100).save(tmp_path / "images" / name)
    return tmp_path


def write(raw_dir, name, content):
    path = raw_dir / name
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, np.ndarray):
        Image.fromarray(content).save(path)
    else:
        path.write_text(json.dumps(content))


FORMATS = {
    "flat": ("list", "annotations.json", FLAT),
    "nested": ("list", "annotations.json", NESTED),
    "coco": ("coco", "annotations.json", COCO),
    "labelme in the data folder": ("labelme", "a.json", LABELME),
    "labelme in annotations": ("labelme", "annotations/a.json", LABELME),
    "labelme beside the images": ("labelme", "images/a.json", LABELME),
    "masks": ("masks", "masks/a.bmp", MASK),
}


@pytest.mark.parametrize(("format", "name", "content"), FORMATS.values(), ids=FORMATS.keys())
def test_every_format_is_told_by_its_content_and_gives_the_same_mask(
    raw_dir, format, name, content
):
    write(raw_dir, name, content)
    images = ImageFolder(raw_dir / "images")
    for named in ("auto", format):
        source = open_source(raw_dir, named)
        assert source.format == format
        assert len(source) == len(list(source)) == len(content if format == "list" else [0])
        assert list(source) == list(source)
        accepted = accept(next(iter(source)), images, {}, 10_000, source.masks)
        assert json.loads(json.dumps(accepted)) == accepted
        assert accepted["file"] == "a.png"
        assert accepted["vessel_fraction"] == pytest.approx(MASK.mean(), abs=1e-6)
        assert np.array_equal(draw_mask(accepted, source.masks, 10_000), MASK)


@pytest.mark.parametrize(("format", "name", "content"), FORMATS.values(), ids=FORMATS.keys())
def test_a_source_and_its_entries_can_be_sent_to_another_process(raw_dir, format, name, content):
    write(raw_dir, name, content)
    source = pickle.loads(pickle.dumps(open_source(raw_dir)))
    assert list(source) == list(open_source(raw_dir))


@pytest.mark.parametrize(("format", "name", "content"), FORMATS.values(), ids=FORMATS.keys())
def test_images_that_no_entry_names_can_follow_as_images_without_label(
    raw_dir, format, name, content
):
    write(raw_dir, name, content)
    write(raw_dir, "images/deep/c.png", np.zeros((20, 30), np.uint8))
    source, images = open_source(raw_dir), ImageFolder(raw_dir / "images")
    entries = list(with_unannotated(source, images))
    more = [{"image": file, "mask": None} for file in ("b.png", "deep/c.png")]
    assert entries == [*source, *(more[1:] if content is FLAT else more)]


def test_an_image_is_named_by_any_spelling_of_its_path_even_by_an_entry_that_is_refused():
    raws = [{"image": "./a.png", "mask": 3}, {"image": 7}, None, refused("b.png", "", "", "")]
    assert list(with_unannotated(raws, ["a.png", "b.png"])) == raws


def test_a_refusal_can_be_sent_to_another_process():
    refusal = pickle.loads(pickle.dumps(Refusal("mask[0]", "what", "how")))
    assert (refusal.field, refusal.reason, refusal.hint) == ("mask[0]", "what", "how")
    assert str(refusal) == "what"


def test_entries_of_a_list_may_name_mask_files(raw_dir):
    write(raw_dir, "annotations.json", [{"image": "a.png", "mask_file": "other.png"}])
    write(raw_dir, "masks/other.png", MASK)
    source = open_source(raw_dir)
    sample = read_sample(next(iter(source)), ImageFolder(raw_dir / "images"), 10_000, source.masks)
    assert np.array_equal(sample.mask, MASK)


def test_annotations_json_goes_before_all_else(raw_dir):
    write(raw_dir, "annotations.json", FLAT)
    write(raw_dir, "masks/a.png", MASK)
    write(raw_dir, "images/a.json", LABELME)
    assert open_source(raw_dir).format == "list"
    assert open_source(raw_dir, "masks").format == "masks"
    assert open_source(raw_dir, "labelme").format == "labelme"


@pytest.mark.parametrize("content", [FLAT, COCO], ids=["list", "coco"])
def test_labelme_files_beside_annotations_json_correct_it(raw_dir, content):
    write(raw_dir, "annotations.json", content)
    before = list(open_source(raw_dir))
    corner = {**LABELME["shapes"][0], "points": [[0, 0], [4, 0], [4, 4]]}
    write(raw_dir, "images/a.json", LABELME | {"shapes": [corner]})
    write(raw_dir, "images/new.json", LABELME | {"imagePath": "new.png"})
    source = pickle.loads(pickle.dumps(open_source(raw_dir)))
    entries = {entry["image"]: entry for entry in source}
    assert len(source) == len(list(source)) == len(entries)
    assert entries["a.png"]["mask"] == [[0, 0, 4, 0, 4, 4]]
    assert entries["new.png"]["mask"] == [SQUARE]
    others = [entry for entry in before if entry["image"] != "a.png"]
    assert list(source)[: len(others)] == others


def test_labelme_files_beside_masks_correct_them(raw_dir):
    write(raw_dir, "masks/a_mask.png", MASK)
    write(raw_dir, "masks/b_mask.png", MASK)
    write(raw_dir, "images/a.json", LABELME)
    source = open_source(raw_dir)
    assert len(source) == 2
    kept, corrected = source
    assert kept == {"image": "b.png", "mask_file": "b_mask.png"}
    assert (corrected["image"], corrected["mask"]) == ("a.png", [SQUARE])
    assert [entry["image"] for entry in open_source(raw_dir, "masks")] == ["a.png", "b.png"]


@pytest.mark.parametrize(("name", "said"), [("a_manual1.png", True), ("a.png", False)])
def test_that_masks_have_other_names_is_said_without_the_names(raw_dir, caplog, name, said):
    write(raw_dir, f"masks/{name}", MASK)
    with caplog.at_level("INFO"):
        open_source(raw_dir)
    assert ("No mask has the name of an image" in caplog.text) == said
    assert "manual1" not in caplog.text


def test_a_prediction_that_nobody_has_checked_takes_no_labels_place(raw_dir):
    write(raw_dir, "annotations.json", FLAT)
    write(raw_dir, "images/a.json", LABELME | {"flags": {UNCHECKED: True}})
    *entries, unchecked = open_source(raw_dir)
    assert entries == FLAT
    assert "refused" in unchecked
    assert list(open_source(raw_dir, "list")) == FLAT


def test_files_that_are_no_annotations_are_not_taken_for_them(raw_dir):
    write(raw_dir, "groups.json", {"a.png": "p1"})
    write(raw_dir, "images/notes.json", {"remark": "shapes"})
    write(raw_dir, "masks/.hidden.png", MASK)
    with pytest.raises(VesselrlError, match="annotations.json does not exist"):
        open_source(raw_dir)


@pytest.mark.parametrize(
    ("files", "format", "sentence"),
    [
        ({}, "auto", "annotations.json does not exist: give the folder .* LabelMe files or a fol"),
        ({}, "list", "annotations.json does not exist: give the folder"),
        ({}, "coco", "annotations.json does not exist: give the folder"),
        ({}, "labelme", "No LabelMe files, JSON with 'shapes', in "),
        ({}, "masks", "masks does not exist or is empty: expected masks/x.png"),
        ({"annotations.json": {"a.png": []}}, "auto", "holds an object; expected a list of objec"),
        ({"annotations.json": FLAT}, "coco", "holds a list; expected a list of objects .* or an"),
        ({"annotations.json": COCO}, "list", r"is not JSON \(entry 0, line 1: expected '\['"),
        ({"annotations.json": 3}, "auto", r"is not JSON \(entry 0, line 1: expected '\['"),
    ],
)  # fmt: skip
def test_a_folder_in_which_nothing_can_be_read_is_told_in_a_sentence(
    raw_dir, files, format, sentence
):
    for name, content in files.items():
        write(raw_dir, name, content)
    with pytest.raises(VesselrlError, match=sentence):
        open_source(raw_dir, format)


def test_a_missing_folder_is_told_in_a_sentence(tmp_path):
    with pytest.raises(VesselrlError, match=r"The folder .*gone does not exist; expected annotat"):
        open_source(tmp_path / "gone")


def test_a_file_in_place_of_the_folder_is_told_with_its_folder(raw_dir):
    write(raw_dir, "annotations.json", FLAT)
    with pytest.raises(VesselrlError, match=rf"json is a file: give .* raw_dir={raw_dir}\.$"):
        open_source(raw_dir / "annotations.json")


def test_a_misspelt_folder_is_told_with_the_one_that_was_meant(tmp_path):
    (tmp_path / "chase_db1").mkdir()
    with pytest.raises(
        VesselrlError, match=r"chase_db does not exist; .*: did you mean chase_db1\?"
    ):
        open_source(tmp_path / "chase_db")


def test_a_large_coco_file_is_refused_and_a_large_list_is_not(raw_dir):
    write(raw_dir, "annotations.json", COCO)
    with pytest.raises(VesselrlError, match="more than the limit of 0.0001 MB"):
        open_source(raw_dir, max_json_mb=0.0001)
    write(raw_dir, "annotations.json", FLAT)
    assert len(open_source(raw_dir, max_json_mb=0.0001)) == 2


def test_a_list_that_is_cut_is_told_before_any_entry_is_used(raw_dir):
    (raw_dir / "annotations.json").write_text(json.dumps(FLAT)[:-5])
    with pytest.raises(VesselrlError, match="entry 1, line 1"):
        open_source(raw_dir)
