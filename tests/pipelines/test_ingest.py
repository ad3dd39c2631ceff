import io
import json
import math
import os
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, DatasetError
from kedro.runner import SequentialRunner
from PIL import Image

from vesselrl.annotations.acceptance import sample_ids
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.parameters import IngestParameters, SplitParameters
from vesselrl.annotations.polygons import rasterise
from vesselrl.errors import VesselrlError
from vesselrl.pipelines.ingest import create_pipeline, nodes

CONF = Path(__file__).parents[2] / "conf" / "base"
INGEST = IngestParameters(strict=False, max_pixels=10_000)
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]


def split_parameters(**limits):
    return SplitParameters(
        fractions={"train": 0.6, "val": 0.2, "test": 0.2},
        group_pattern=r"^(p\d+)_",
        max_images={"train": None, "val": None, "test": None, **limits},
    )


def picture(width=30, height=20, level=100):
    stream = io.BytesIO()
    Image.new("L", (width, height), level).save(stream, format="PNG")
    return stream.getvalue()


def entry(image="x.png", mask=(SQUARE,), **more):
    return {"image": image, "mask": list(mask), **more}


FILES = {"x.png": picture, "y.png": picture, "cut.png": lambda: picture()[:-35]}


def check(*entries, ingest=INGEST, images=FILES):
    return nodes.check_annotations(list(entries), images, ingest)


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
}  # fmt: skip


@pytest.mark.parametrize(("given", "field", "reason", "hint"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_entry_is_quarantined_with_a_reason_and_the_rest_goes_on(given, field, reason, hint):
    accepted, quarantine = check(given, entry("y.png"))
    (row,) = quarantine.to_dict("records")
    assert [found["file"] for found in accepted] == ["y.png"]
    assert row["entry"] == 0
    assert row["field"] == field
    assert reason in row["reason"]
    assert hint in row["hint"]


def test_of_entries_about_one_image_the_first_is_kept():
    accepted, quarantine = check(entry(), entry("./x.png", mask=[]))
    assert accepted[0]["polygons"] == [SQUARE]
    assert "entry 0 is about this image already" in quarantine["reason"][0]


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
    (accepted,), quarantine = check(given)
    assert quarantine.empty
    assert (accepted["polygons"], accepted["text"]) == (polygons, text)
    assert (accepted["width"], accepted["height"]) == (30, 20)
    assert accepted["vessel_fraction"] == pytest.approx(
        rasterise(polygons, 20, 30).mean(), abs=1e-6
    )


@pytest.mark.parametrize(
    ("entries", "strict", "sentence"),
    [
        ({"x.png": []}, False, "holds an object; expected a list of objects"),
        ([], False, "holds no entries"),
        (
            [entry("z.png"), None],
            False,
            r"None of the 2 entries .* entry 0 \(z.png\): no such file",
        ),
        ([entry(), None], True, "1 of 2 entries .* ingest.strict is true"),
    ],
)
def test_annotations_that_cannot_be_used_stop_the_run_with_a_sentence(entries, strict, sentence):
    with pytest.raises(VesselrlError, match=sentence):
        nodes.check_annotations(entries, FILES, INGEST.model_copy(update={"strict": strict}))


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
def test_accepted_and_quarantined_are_all_entries_whatever_they_hold(entries):
    accepted, quarantine = check(entry("good.png"), *entries, images={**FILES, "good.png": picture})
    assert len(accepted) + len(quarantine) == len(entries) + 1
    assert quarantine["reason"].str.len().gt(0).all()
    assert json.loads(json.dumps(accepted)) == accepted
    quarantine.to_csv(io.BytesIO())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images" / "sub" / "x.png").write_bytes(b"inside")
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
        ("null\0.png", "no such file"),
        ("x" * 5000, "no such file"),
    ],
)
def test_nothing_outside_the_folder_of_images_is_read(folder, file, reason):
    _, quarantine = check(entry(file), entry("ok"), images=_Both(folder))
    assert reason in quarantine["reason"][0]


class _Both(dict):
    """A folder, and beside it one good image, since nothing but bad ones would stop the run."""

    def __init__(self, folder):
        self.folder = folder

    def __getitem__(self, file):
        return picture if file == "ok" else self.folder[file]


def test_the_folder_lists_its_files(folder):
    assert list(folder) == ["link.png", "sub/x.png"]
    assert folder["sub/x.png"]() == b"inside"


def test_equal_stems_get_the_suffix_as_well():
    assert list(sample_ids(["a.png", "b.png", "b.jpg", "c/a.tif", "...png"]).values()) == [
        "a.png", "b.png", "b.jpg", "a.tif", "...png",
    ]  # fmt: skip
    assert len(set(sample_ids(["x/a.png", "y/a.png", "a.png", "a.png.png"]).values())) == 4


def test_parameter_models_are_found_in_the_nodes():
    assert typing.get_type_hints(nodes.check_annotations)["ingest"] is IngestParameters
    assert typing.get_type_hints(nodes.split_samples)["split"] is SplitParameters


def parameters(catalog, **limits):
    catalog["params:ingest"] = INGEST
    catalog["params:split"] = split_parameters(**limits)
    catalog["params:seed"] = 42
    return catalog


def frames(patients=5, per_patient=3):
    return [f"p{p:02d}_f{f}.png" for p in range(1, patients + 1) for f in range(1, per_patient + 1)]


def test_a_slice_of_the_pipeline_runs_in_memory():
    files = frames()
    catalog = parameters(DataCatalog(), train=4)
    catalog["raw_annotations"] = [entry(file) for file in files] + [None]
    catalog["raw_images"] = dict.fromkeys(files, picture)
    catalog["raw_groups"] = catalog["raw_splits"] = None
    wanted = ("ingest_report", "images", "masks")
    out = SequentialRunner().run(create_pipeline().to_outputs(*wanted), catalog)
    report, images, masks = (out[name].load() for name in wanted)
    assert (report["entries"], report["accepted"], report["quarantined"]) == (16, 15, 1)
    assert report["samples"] + report["left_out_by_limit"] == 15
    assert report["splits"]["train"]["images"] == 4
    assert sum(split["images"] for split in report["splits"].values()) == report["samples"]
    assert set(masks) == set(images)
    assert len(images) == report["samples"]
    mask = masks["p01_f1"]()
    assert mask.dtype == bool
    assert mask.shape == images["p01_f1"]().shape == (20, 30)


def catalog_in(folder, **limits):
    text = (CONF / "catalog_ingest.yml").read_text()
    for name in ("raw", "out"):
        text = text.replace(f"${{_{name}_dir}}", str(folder / name))
    return parameters(DataCatalog.from_config(yaml.safe_load(text)), **limits)


def write_raw(folder, files, **tables):
    (folder / "raw" / "images").mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        (folder / "raw" / "images" / file).write_bytes(picture(level=number))
    tables = {"annotations": [entry(file) for file in files], **tables}
    for name, content in tables.items():
        (folder / "raw" / f"{name}.json").write_text(json.dumps(content))


def test_real_files_go_through_and_strings_stay_strings(tmp_path):
    files = ["002.png", "NA.png", "010.png"]
    write_raw(tmp_path, files, groups=dict(zip(files, ["01", "NA", "007"], strict=True)))
    catalog = catalog_in(tmp_path)
    SequentialRunner().run(create_pipeline(), catalog)
    samples = catalog.load("samples")
    assert list(samples.columns) == nodes.SAMPLE_COLUMNS
    assert samples["id"].tolist() == ["002", "NA", "010"]
    assert samples["group"].tolist() == ["01", "NA", "007"]
    assert samples["text"].tolist() == ["", "", ""]
    quarantine = catalog.load("quarantine")
    assert quarantine.empty
    assert list(quarantine.columns) == nodes.QUARANTINE_COLUMNS
    image, mask = catalog.load("images")["NA"](), catalog.load("masks")["NA"]()
    assert image.dtype == np.uint8
    assert (image == 1).all()
    assert np.array_equal(mask, rasterise([SQUARE], 20, 30))
    assert set(catalog.load("ingest_report")) >= {"entries", "accepted", "quarantined", "warnings"}
    assert catalog.load("ingest_overview").startswith(b"\x89PNG")


def test_a_second_run_leaves_no_images_of_the_first(tmp_path):
    write_raw(tmp_path, frames())
    SequentialRunner().run(create_pipeline(), catalog_in(tmp_path))
    catalog = catalog_in(tmp_path, train=2, val=1, test=1)
    SequentialRunner().run(create_pipeline(), catalog)
    assert len(catalog.load("images")) == len(catalog.load("masks")) == 4
    assert list(catalog.load("images")) == sorted(catalog.load("samples")["id"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"annotations.json does not exist: give the folder"),
        (b"[{", r"annotations.json is not JSON"),
        (b"\xff\xfe\x00", r"annotations.json is not JSON"),
        (b"[" * 100_000, r"nested too deeply"),
    ],
)
def test_annotations_that_cannot_be_read_are_told_in_a_sentence(tmp_path, content, sentence):
    write_raw(tmp_path, ["a.png"])
    file = tmp_path / "raw" / "annotations.json"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        catalog_in(tmp_path).load("raw_annotations")
    causes = [caught.value.__cause__, caught.value.__cause__.__cause__]
    assert any(isinstance(cause, VesselrlError) for cause in causes)
    assert caught.match(sentence)


@pytest.mark.parametrize("name", ["raw_annotations", "raw_images"])
def test_a_missing_raw_dir_is_told_in_a_sentence(tmp_path, name):
    with pytest.raises(DatasetError, match=r"The folder .* does not exist; expected"):
        catalog_in(tmp_path).load(name)


def test_optional_files_may_be_absent(tmp_path):
    write_raw(tmp_path, ["a.png"])
    catalog = catalog_in(tmp_path)
    assert catalog.load("raw_groups") is None
    assert not catalog.exists("raw_splits")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_without_permission_is_quarantined(tmp_path):
    write_raw(tmp_path, ["a.png", "b.png"])
    (tmp_path / "raw" / "images" / "a.png").chmod(0)
    _, quarantine = check(
        entry("a.png"), entry("b.png"), images=ImageFolder(tmp_path / "raw" / "images")
    )
    assert "cannot be read: Permission denied" in quarantine["reason"][0]


def test_the_same_file_in_two_splits_is_warned_of():
    accepted, quarantine = check(entry("x.png"), entry("y.png"))
    samples, split_report = nodes.split_samples(
        accepted, None, {"x.png": "train", "y.png": "test"}, split_parameters(), 42
    )
    report = nodes.write_ingest_report(accepted, quarantine, samples, split_report, FILES)
    assert any("x.png and y.png are the same file" in warning for warning in report["warnings"])
    assert "1 files in images/ have no entry in annotations.json." in report["warnings"]
    assert isinstance(samples, pd.DataFrame)
