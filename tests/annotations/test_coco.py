import io
import json

import numpy as np
import pytest
from PIL import Image

from vesselrl.annotations.acceptance import accept
from vesselrl.annotations.coco import coco_annotation, coco_header, entries_of_coco
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.polygons import rasterise

SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
TRIANGLE = [20, 5, 28, 5, 24, 15]
RLE_MASK = np.zeros((20, 30), bool)
RLE_MASK[3:6, 10:12] = True
RLE = {"size": [20, 30], "counts": [203, 3, 17, 3, 374]}


def picture(width=30, height=20):
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, format="PNG")
    return stream.getvalue()


FILES = {
    "a.png": picture,
    "half.png": lambda: picture(15, 10),
    "turned.png": lambda: picture(20, 30),
}


def document(*segmentations, file="a.png", **size):
    return {
        "images": [{"id": 7, "file_name": file, **size}],
        "annotations": [
            {"image_id": 7, "category_id": number, "segmentation": segmentation}
            for number, segmentation in enumerate(segmentations)
        ],
        "categories": [{"id": 0, "name": "artery"}, {"id": 1, "name": "vein"}],
    }


def accepted(coco):
    (entry,) = entries_of_coco(coco)
    return accept(entry, FILES, {}, 10_000)


def mask_of(coco):
    return draw_mask(accepted(coco), {}, 10_000)


def test_polygons_and_run_lengths_of_all_annotations_make_up_the_mask():
    expected = rasterise([SQUARE, TRIANGLE, SQUARE], 20, 30) | RLE_MASK
    assert np.array_equal(mask_of(document([SQUARE, TRIANGLE], RLE, [SQUARE])), expected)


def test_compressed_run_lengths_are_read():
    text = {"size": [10, 9], "counts": "61X13mN000`0"}
    coco = document(text, file="small.png")
    (entry,) = entries_of_coco(coco)
    found = accept(entry, {"small.png": lambda: picture(9, 10)}, {}, 10_000)
    assert found["rle"] == [text]
    assert draw_mask(found, {}, 10_000).sum() == 1 + 4 + 4 + 4


def test_uncompressed_run_lengths_are_kept_compressed():
    (rle,) = accepted(document(RLE))["rle"]
    assert isinstance(rle["counts"], str)


def test_an_image_without_annotations_has_an_empty_mask():
    assert not mask_of(document()).any()


def test_names_of_categories_are_the_text_each_once():
    assert accepted(document([SQUARE], [SQUARE]))["text"] == "artery; vein"
    assert accepted({**document([SQUARE]), "categories": None})["text"] == ""


def test_coordinates_are_scaled_when_the_file_has_another_size_than_stated():
    coco = document([[4, 4, 18, 4, 18, 18, 4, 18]], file="half.png", width=30, height=20)
    assert np.array_equal(mask_of(coco), rasterise([[2, 2, 9, 2, 9, 9, 2, 9]], 10, 15))
    assert mask_of(document(RLE, file="half.png")).shape == (10, 15)


REFUSED = {
    "other proportions": (
        document([SQUARE], file="turned.png", width=30, height=20),
        "mask", "for an image of 30 × 20 pixels; this has 20 × 30, other proportions",
    ),
    "run lengths of other proportions": (
        document(RLE, file="turned.png"), "mask", "for an image of 30 × 20 pixels; this has 20",
    ),
    "wrong run lengths": (
        document({**RLE, "counts": [5]}), "mask[0]", "run lengths sum to 5; 20 rows × 30 columns",
    ),
    "no run lengths": (document({"size": [20, 30]}), "mask[0]", "without 'counts'"),
    "run lengths of a giant": (
        document({"size": [2000, 3000], "counts": [6_000_000]}),
        "mask", "3000 × 2000 pixels, more than the limit of 10,000",
    ),
    "segmentation is text": (document("box"), "mask[0]", 'the text "box"'),
    "size is text": (
        document([SQUARE], width="30", height=20),
        "stated_size", 'the size of the image is the text "30" × the number 20',
    ),
    "half a size": (
        document([SQUARE], width=30), "stated_size", "is the number 30 × null",
    ),
    "a box alone": (
        {**document(), "annotations": [{"image_id": 7, "bbox": [1, 1, 5, 5]}]},
        "annotations", "has no 'segmentation'",
    ),
    "no polygons": (document([SQUARE], []), "annotations", "has no 'segmentation'"),
    "no id": (
        {"images": [{"file_name": "a.png"}], "annotations": []}, "images[0].id", "id is missing",
    ),
    "no file name": (
        {"images": [{"id": 1}], "annotations": []}, "image", "found null",
    ),
    "image is null": ({"images": [None], "annotations": []}, "images[0]", "found null"),
}  # fmt: skip


@pytest.mark.parametrize(("coco", "field", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_refused_with_the_reason(coco, field, reason):
    with pytest.raises(Refusal, match=".*") as caught:
        accepted(coco)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert caught.value.hint


def test_annotations_of_no_image_are_refused_one_by_one():
    coco = document([SQUARE])
    coco["annotations"] += [None, {"image_id": 8, "segmentation": []}, {"segmentation": []}]
    first, *strays = entries_of_coco(coco)
    assert first["mask"] == [[SQUARE]]
    assert [stray["refused"][:2] for stray in strays] == [
        ["annotations[1]", "found null"],
        ["annotations[2].image_id", "no image has the id the number 8"],
        ["annotations[3].image_id", "no image has the id null"],
    ]


def test_of_images_with_one_id_the_first_is_kept():
    coco = document([SQUARE])
    coco["images"].append({"id": 7, "file_name": "b.png"})
    _, second = entries_of_coco(coco)
    assert second["refused"][:2] == ["images[1].id", "a duplicate id"]


def test_masks_that_are_written_come_back_exactly():
    empty = np.zeros((10, 15), bool)
    coco = coco_header([("a.png", 30, 20), ("half.png", 15, 10)], "vessel") | {
        "annotations": [coco_annotation(1, RLE_MASK), coco_annotation(2, empty)]
    }
    entries = list(entries_of_coco(json.loads(json.dumps(coco))))
    found = [accept(entry, FILES, {}, 10_000) for entry in entries]
    assert [one["file"] for one in found] == ["a.png", "half.png"]
    assert np.array_equal(draw_mask(found[0], {}, 10_000), RLE_MASK)
    assert not draw_mask(found[1], {}, 10_000).any()
    assert found[0]["text"] == "vessel"


def test_an_annotation_tells_area_and_box():
    annotation = coco_annotation(3, RLE_MASK)
    assert annotation["bbox"] == [10, 3, 2, 3]
    assert annotation["area"] == 6
    assert annotation["id"] == annotation["image_id"] == 3
