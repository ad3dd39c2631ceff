import io
import json

import numpy as np
import pytest
from PIL import Image

from vesselrl.annotations.acceptance import accept, name_of
from vesselrl.annotations.drawing import draw_mask
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.labelme import (
    UNCHECKED,
    entries_of_labelme,
    labelme_document,
    labelme_files,
)
from vesselrl.annotations.polygons import polygonise, rasterise

CORNERS = [[2, 2], [9, 2], [9, 9], [2, 9]]
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]


def picture(width=30, height=20):
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, format="PNG")
    return stream.getvalue()


FILES = {"a.png": picture, "half.png": lambda: picture(15, 10), "sub/a.png": picture}


def shape(points=CORNERS, kind="polygon", label="vessel"):
    return {"label": label, "points": points, "shape_type": kind}


def document(*shapes, **changes):
    size = {"imageWidth": 30, "imageHeight": 20}
    return {"shapes": list(shapes), "imagePath": "a.png", "imageData": None, **size, **changes}


def entries(folder, *contents):
    for number, content in enumerate(contents):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / f"{number}.json").write_bytes(text)
    files = sorted(folder.glob("*.json"))
    return list(entries_of_labelme([(path, ".") for path in files], max_mb=1))


def accepted(folder, content):
    (entry,) = entries(folder, content)
    return accept(entry, FILES, {}, 10_000)


def test_polygons_and_rectangles_are_filled(tmp_path):
    found = accepted(
        tmp_path, document(shape(), shape([[15, 3], [20, 8]], "rectangle", "stenosis"), shape())
    )
    expected = rasterise([SQUARE, [15, 3, 20, 3, 20, 8, 15, 8]], 20, 30)
    assert np.array_equal(draw_mask(found, {}, 10_000), expected)
    assert found["text"] == "vessel; stenosis"


@pytest.mark.parametrize("radius", [0.5, 3.0, 8.0])
def test_a_circle_is_filled_to_a_pixel(tmp_path, radius):
    found = accepted(tmp_path, document(shape([[14, 10], [14 + radius, 10]], "circle")))
    mask = draw_mask(found, {}, 10_000)
    y, x = np.mgrid[:20, :30]
    distance = np.hypot(x - 14, y - 10)
    assert mask[distance <= radius - 0.7].all()
    assert not mask[distance > radius + 1].any()


def test_a_shape_without_a_kind_is_a_polygon_and_none_at_all_an_empty_mask(tmp_path):
    assert accepted(tmp_path, document({"points": CORNERS}))["polygons"] == [SQUARE]
    assert accepted(tmp_path, document())["vessel_fraction"] == 0


@pytest.mark.parametrize("path", ["a.png", "../b/a.png", "C:\\scans\\a.png", "/etc/a.png"])
def test_of_the_path_of_the_image_only_the_name_counts(tmp_path, path):
    assert accepted(tmp_path, document(shape(), imagePath=path))["file"] == "a.png"


def test_files_in_folders_belong_to_images_in_such_folders(tmp_path):
    (tmp_path / "annotations" / "sub").mkdir(parents=True)
    (tmp_path / "annotations" / "sub" / "a.json").write_text(json.dumps(document(shape())))
    (entry,) = entries_of_labelme(labelme_files(tmp_path, 1), 1)
    assert entry["image"] == "sub/a.png"


def test_coordinates_are_scaled_when_the_file_has_another_size_than_stated(tmp_path):
    points = [[4, 4], [18, 4], [18, 18], [4, 18]]
    found = accepted(tmp_path, document(shape(points), imagePath="half.png"))
    assert np.array_equal(draw_mask(found, {}, 10_000), rasterise([SQUARE], 10, 15))
    found = accepted(
        tmp_path, document(shape(), imagePath="half.png", imageWidth=None, imageHeight=None)
    )
    assert found["polygons"] == [SQUARE]


REFUSED = {
    "line strip": (document(shape(kind="linestrip")), "shapes[0].shape_type", "linestrip has no a"),
    "point": (document(shape([[1, 1]], "point")), "shapes[0].shape_type", "point has no area"),
    "mask": (document(shape(kind="mask")), "shapes[0].shape_type", 'is the text "mask"'),
    "circle": (document(shape(kind="circle")), "shapes[0].shape_type", "a circle of 4 points"),
    "no points": (document({"label": "x"}), "shapes[0].points", "no list of points"),
    "flat points": (document(shape(SQUARE)), "shapes[0].points", "no list of points"),
    "NaN": (document(shape([[float("nan"), 1], [2, 2], [3, 1]])), "shapes[0].points", "no list"),
    "two points": (document(shape(CORNERS[:2])), "mask[0]", "fewer than 3 points"),
    "shape is null": (document(None), "shapes[0]", "found null"),
    "no shapes": ({"imagePath": "a.png"}, "shapes", "no list 'shapes'"),
    "a list": ([], "shapes", "an empty list"),
    "no image": (document(imagePath=None), "imagePath", "found null"),
    "missing image": (document(imagePath="z.png"), "image", "no such file"),
    "dots": (document(imagePath=".."), "image", "no such file"),
    "size": (document(imageWidth=-3), "stated_size", "the number -3 × the number 20"),
    "cut": (b'{"shapes": [', "", "the file is not JSON"),
    "encoding": ("é".encode("utf-16"), "", "the file is not JSON"),
    "too large": (b" " * 1_100_000, "", "more than the limit of 1 MB"),
    "proportions": (document(shape(), imageWidth=300), "mask", "other proportions"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "field", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path, content, field, reason):
    (entry,) = entries(tmp_path, content)
    with pytest.raises(Refusal, match=".*") as caught:
        accept(entry, FILES, {}, 10_000)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert caught.value.hint
    assert name_of(entry)


def test_a_link_is_not_followed(tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(document(shape())))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.json").symlink_to(outside)
    (entry,) = entries(tmp_path / "in")
    assert "a link" in entry["refused"][1]


HOLED = np.zeros((20, 30), bool)
HOLED[3:15, 4:20], HOLED[6:9, 8:12] = True, False
HOLED[17, 25] = True
DOCUMENT = labelme_document("a.png", polygonise(HOLED), *HOLED.shape, "vessel")


def test_a_predicted_mask_comes_back_exactly_once_its_flag_is_unticked(tmp_path):
    written = json.loads(json.dumps(DOCUMENT))
    assert written["flags"] == {UNCHECKED: True}
    assert (written["imageWidth"], written["imageHeight"]) == (30, 20)
    written["flags"][UNCHECKED] = False
    found = accepted(tmp_path, written)
    assert np.array_equal(draw_mask(found, {}, 10_000), HOLED)
    assert found["text"] == "vessel"


def test_a_prediction_that_nobody_has_checked_is_no_label(tmp_path):
    with pytest.raises(Refusal, match="nobody has checked") as refusal:
        accepted(tmp_path, DOCUMENT)
    assert refusal.value.field == "flags"
    assert f"untick the flag '{UNCHECKED}'" in refusal.value.hint


@pytest.mark.parametrize("flags", [None, [], "x", {"seen": True}, {UNCHECKED: None}])
def test_other_flags_change_nothing(tmp_path, flags):
    found = accepted(tmp_path, document(shape(), flags=flags))
    assert found["polygons"] == [SQUARE]
