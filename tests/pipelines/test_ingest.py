import io
import json
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError
from kedro.runner import SequentialRunner
from PIL import Image

from vesselrl.annotations.parameters import (
    AnnotationsParameters,
    IngestParameters,
    SplitParameters,
)
from vesselrl.annotations.polygons import rasterise
from vesselrl.annotations.sources import Source
from vesselrl.errors import VesselrlError
from vesselrl.journal import Journal
from vesselrl.pipelines.ingest import create_pipeline, nodes
from vesselrl.samples import unlabelled_pool

CONF = Path(__file__).parents[2] / "conf" / "base"
INGEST = IngestParameters(strict=False, max_pixels=10_000, unannotated="ignore")
ANNOTATIONS = AnnotationsParameters(format="list", max_json_mb=10)
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]


def split_parameters(**limits):
    return SplitParameters(
        fractions={"train": 0.6, "val": 0.2, "test": 0.2},
        group_pattern=r"^(p\d+)_",
        max_images={"train": None, "val": None, "test": None, "unlabelled": None, **limits},
        near_duplicate_bits=8,
        on_leak="warn",
    )


def picture(width=30, height=20, level=100):
    stream = io.BytesIO()
    Image.new("L", (width, height), level).save(stream, format="PNG")
    return stream.getvalue()


def entry(image="x.png", mask=(SQUARE,), **more):
    return {"image": image, "mask": list(mask), **more}


FILES = {"x.png": picture, "y.png": picture, "cut.png": lambda: picture()[:-35]}


def opener(entries):
    """Opens annotations that hold these entries."""
    source = Source("list", "annotations.json", lambda: entries, len(entries))
    return lambda format, max_json_mb: source


def no_key():
    raise AssertionError("no name is to be replaced")


def check(*entries, ingest=INGEST, images=FILES):
    """The accepted entries and the quarantine."""
    accepted, quarantine, names = nodes.check_annotations(
        opener(entries), images, {}, Journal(Path("none")), no_key, False, ANNOTATIONS, ingest
    )
    assert names == {}
    return accepted, quarantine


def test_a_bad_entry_is_quarantined_with_a_reason_and_the_rest_goes_on():
    accepted, quarantine = check(entry("cut.png"), entry("y.png"), entry(mask=[SQUARE[:-1]]))
    assert accepted["file"].tolist() == ["y.png"]
    assert quarantine.columns.tolist() == nodes.QUARANTINE_COLUMNS
    assert quarantine["entry"].tolist() == [0, 2]
    assert quarantine["file"].tolist() == ["cut.png", "x.png"]
    assert quarantine["field"].tolist() == ["image", "mask[0]"]
    assert "truncated or damaged" in quarantine["reason"][0]
    assert "expected pairs" in quarantine["hint"][1]


@pytest.mark.parametrize(
    ("entries", "strict", "sentence"),
    [
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
        check(*entries, ingest=INGEST.model_copy(update={"strict": strict}))


def test_parameter_models_are_found_in_the_nodes():
    assert typing.get_type_hints(nodes.check_annotations)["ingest"] is IngestParameters
    assert typing.get_type_hints(nodes.split_samples)["split"] is SplitParameters


def parameters(catalog, **limits):
    catalog["params:ingest"] = INGEST
    catalog["params:annotations"] = ANNOTATIONS
    catalog["params:pseudonymise"] = False
    catalog["params:split"] = split_parameters(**limits)
    catalog["params:seed"] = 42
    return catalog


def frames(patients=5, per_patient=3):
    return [f"p{p:02d}_f{f}.png" for p in range(1, patients + 1) for f in range(1, per_patient + 1)]


def test_a_slice_of_the_pipeline_runs_in_memory():
    files = frames()
    catalog = parameters(DataCatalog(), train=4)
    catalog["raw_annotations"] = opener([entry(file) for file in files] + [None])
    catalog["raw_images"] = dict.fromkeys(files, picture)
    catalog["raw_hashes"] = {}
    catalog["earlier_checks"] = Journal(Path("none"))
    catalog["pseudonym_key"] = no_key
    catalog["raw_groups"] = catalog["raw_splits"] = catalog["earlier_split_assignments"] = None
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


def test_a_text_or_a_group_of_several_lines_breaks_no_table(tmp_path):
    files = ["a.png", "b.png", "c.png"]
    write_raw(tmp_path, files, annotations=[entry(file, text="a\rb\nc") for file in files])
    catalog = catalog_in(tmp_path)
    SequentialRunner().run(create_pipeline(), catalog)
    assert catalog.load("samples")["text"].tolist() == ["a b c"] * 3
    write_raw(tmp_path, files, groups=dict.fromkeys(files, "p\r1"))
    with pytest.raises(VesselrlError, match=r"groups.json names 'p\?1'.*rename it there"):
        SequentialRunner().run(create_pipeline(), catalog)


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


def ingested(folder, unannotated="ignore", format="list", **limits):
    """The catalog after a run on what is in the folder, and the samples by file."""
    catalog = catalog_in(folder, **limits)
    catalog["params:ingest"] = INGEST.model_copy(update={"unannotated": unannotated})
    catalog["params:annotations"] = ANNOTATIONS.model_copy(update={"format": format})
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog, catalog.load("samples").set_index("file")


def test_images_without_label_become_samples_without_a_mask_and_upset_no_split(tmp_path):
    files = frames(patients=6)
    write_raw(tmp_path / "labelled", files)
    _, before = ingested(tmp_path / "labelled")
    nobody = ["p01_f9.png", "new_1.png", "new_2.png"]
    entries = [entry(file) for file in files] + [{"image": file, "mask": None} for file in nobody]
    entries += [{"image": "gone.png", "mask": None}]
    write_raw(tmp_path, files + nobody, annotations=entries)
    catalog, samples = ingested(tmp_path)
    assert samples["split"].drop(nobody).equals(before["split"])
    assert (samples.loc[nobody, "split"] == "unlabelled").all()
    assert samples.loc["p01_f9.png", "group"] == "p01"
    assert samples["vessel_fraction"].dtype == float
    assert samples["vessel_fraction"].isna().equals(samples["split"] == "unlabelled")
    assert set(catalog.load("images")) == set(samples["id"])
    assert set(catalog.load("masks")) == set(samples["id"].drop(nobody))
    report = catalog.load("ingest_report")
    assert (report["entries"], report["accepted"], report["quarantined"]) == (22, 21, 1)
    assert report["splits"]["unlabelled"] == {"images": 3, "groups": 3}
    assert report["samples"] == sum(split["images"] for split in report["splits"].values()) == 21


SOURCES = {
    "list": {"annotations.json": [entry("a.png")]},
    "coco": {
        "annotations.json": {
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [{"image_id": 1, "segmentation": [SQUARE]}],
        }
    },
    "labelme": {
        "annotations/a.json": {
            "imagePath": "a.png",
            "shapes": [{"points": [SQUARE[i : i + 2] for i in (0, 2, 4, 6)]}],
        }
    },
    "masks": {"masks/a.png": None},
}


@pytest.mark.parametrize("format", SOURCES)
def test_images_that_no_annotation_names_are_ignored_or_unlabelled_as_asked(tmp_path, format):
    write_raw(tmp_path, ["a.png", "b.png"])
    (tmp_path / "raw" / "annotations.json").unlink()
    (tmp_path / "raw/images/readme.txt").write_text("no image")
    for name, content in SOURCES[format].items():
        path = tmp_path / "raw" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        if format == "masks":
            Image.fromarray(rasterise([SQUARE], 20, 30)).save(path)
    catalog, samples = ingested(tmp_path, format=format)
    assert list(samples.index) == ["a.png"]
    ignored = catalog.load("ingest_report")["warnings"]
    assert any("in images/ that no annotation names: 2." in text for text in ignored)
    assert any("set ingest.unannotated to unlabelled" in text for text in ignored)
    catalog, samples = ingested(tmp_path, "unlabelled", format)
    assert samples["split"].to_dict() == {"a.png": "train", "b.png": "unlabelled"}
    assert list(catalog.load("masks")) == ["a"]
    quarantine = catalog.load("quarantine")
    assert quarantine["file"].tolist() == ["readme.txt"]
    report = catalog.load("ingest_report")
    assert (report["entries"], report["accepted"], report["quarantined"]) == (3, 2, 1)
    assert not any("no annotation names" in text for text in report["warnings"])


def test_a_label_that_splits_json_sets_aside_is_nowhere_in_what_is_made(tmp_path):
    files = frames(patients=3, per_patient=2)
    sides = ["train", "unlabelled", "val", "val", "test", "unlabelled"]
    write_raw(tmp_path, files, splits=dict(zip(files, sides, strict=True)))
    catalog, samples = ingested(tmp_path)
    assert samples["split"].tolist() == sides
    aside = samples["split"] == "unlabelled"
    assert samples["vessel_fraction"].isna().equals(aside)
    assert set(catalog.load("masks")) == set(samples.loc[~aside, "id"])
    report = catalog.load("ingest_report")
    assert report["unlabelled_pool"] == 1
    assert any("1 of 2 images without labels are of groups in val" in w for w in report["warnings"])
    of_one = {
        name
        for name in ("train", "val", "test")
        for warning in report["warnings"]
        if f"The {name} split has images of one group" in warning
    }
    assert of_one == {"val", "test"}


def test_accepted_images_are_warned_of_where_others_fit_only_with_x_and_y_exchanged(tmp_path):
    exchanged = entry("b.png", mask=[[5, 8, 12, 8, 12, 28]])
    write_raw(tmp_path, ["a.png", "b.png"], annotations=[entry("a.png"), exchanged])
    catalog, samples = ingested(tmp_path)
    assert samples.index.tolist() == ["a.png"]
    (told,) = (w for w in catalog.load("ingest_report")["warnings"] if "exchanged" in w)
    assert "x and y exchanged: 1. Those of accepted images (1 are not square) may" in told
    write_raw(tmp_path, ["a.png", "b.png"])
    report = ingested(tmp_path)[0].load("ingest_report")
    assert not any("exchanged" in warning for warning in report["warnings"])


def test_names_that_no_image_has_are_warned_of(tmp_path):
    splits = {"a.png": "train", "./b.png": "val", "gone.png": "test", "./gone.png": "test"}
    groups = dict.fromkeys(["a.png", "b.png", "unused.png", "A.png", "b.jpg", "c.png", "d"], "p")
    write_raw(tmp_path, ["a.png", "b.png"], splits=splits, groups=groups | {"b.png": "q"})
    (tmp_path / "raw/images/unused.png").write_bytes(picture())
    catalog, _ = ingested(tmp_path)
    assert [w for w in catalog.load("ingest_report")["warnings"] if w.startswith("Names in")] == [
        "Names in groups.json that no file in images/ has: 4 (A.png, b.jpg, c.png, …): correct or "
        "remove them.",
        "Names in splits.json that no file in images/ has: 1 (gone.png): correct or remove them.",
    ]


@pytest.mark.parametrize("splits", [None, {"x.png": "unlabelled", "y.png": "unlabelled"}])
def test_data_without_any_label_stop_the_run_with_a_sentence(splits):
    mask = {} if splits else {"mask": None}
    accepted, _ = check(*({**entry(file), **mask} for file in ("x.png", "y.png")))
    with pytest.raises(VesselrlError, match="None of the 2 accepted images has a label"):
        nodes.split_samples(
            accepted, {}, None, splits, None, {}, no_key, False, split_parameters(), 42
        )


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
    with pytest.raises(VesselrlError, match=sentence):
        catalog_in(tmp_path).load("raw_annotations")("auto", 512)


@pytest.mark.parametrize("name", ["raw_annotations", "raw_images"])
def test_a_missing_raw_dir_is_told_in_a_sentence(tmp_path, name):
    with pytest.raises(DatasetError, match=r"The folder .* does not exist; expected"):
        catalog_in(tmp_path).load(name)


def test_optional_files_may_be_absent(tmp_path):
    write_raw(tmp_path, ["a.png"])
    catalog = catalog_in(tmp_path)
    assert catalog.load("raw_groups") is None
    assert not catalog.exists("raw_splits")


def textured(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((90, 60)).save(stream, format="PNG")
    return stream.getvalue()


@pytest.mark.parametrize("on_leak", ["warn", "move", "stop"])
def test_an_unlabelled_image_that_looks_like_a_test_image_is_told_left_out_or_a_reason_to_stop(
    on_leak,
):
    files = ["p01_f1.png", "p02_f1.png", "copy.png", "other.png"]
    looks = dict(zip(files, [1, 2, 2, 3], strict=True))
    images = {file: (lambda n=n: textured(n)) for file, n in looks.items()}
    raws = [entry(file) if "p0" in file else {"image": file, "mask": None} for file in files]
    accepted, quarantine = check(*raws, images=images)
    sides = {"p01_f1.png": "train", "p02_f1.png": "test"}
    parameters = split_parameters().model_copy(update={"on_leak": on_leak})
    given = (accepted, images, None, sides, None, {}, no_key, False, parameters, 42)
    if on_leak == "stop":
        with pytest.raises(VesselrlError, match=r"copy.png .*unlabelled"):
            nodes.split_samples(*given)
        return
    samples, split_report, *_ = nodes.split_samples(*given)
    pool = unlabelled_pool(samples)
    assert pool == (["copy", "other"] if on_leak == "warn" else ["other"])
    report = nodes.write_ingest_report(accepted, quarantine, samples, split_report, {}, images)
    assert report["samples"] + report["left_out_as_look_alikes"] == report["accepted"] == 4
    about_it = [warning for warning in report["warnings"] if "look" in warning]
    assert len(about_it) == 1
    assert "copy.png" in about_it[0]


@pytest.mark.parametrize("on_leak", ["warn", "move", "stop"])
def test_look_alikes_of_different_patients_are_told_kept_together_or_a_reason_to_stop(on_leak):
    images = {f"p{n:02}_f1.png": (lambda n=n: textured(n)) for n in range(12)}
    files = [f"p{n:02}_f1.png" for n in range(12)]
    parameters = split_parameters()
    apart = nodes.split_samples(
        check(*map(entry, files), images=images)[0],
        images, None, None, None, {}, no_key, False, parameters, 42,
    )[0].set_index("file")["split"]  # fmt: skip
    one, other = (apart.index[apart == side][0] for side in ("train", "test"))
    accepted, _ = check(*map(entry, files), images=images | {other: images[one]})
    parameters = parameters.model_copy(update={"on_leak": on_leak})
    given = (accepted, images, None, None, None, {}, no_key, False, parameters, 42)
    if on_leak == "stop":
        with pytest.raises(VesselrlError, match=f"{one[:3]}.*{other[:3]}|{other[:3]}.*{one[:3]}"):
            nodes.split_samples(*given)
        return
    samples, report, look_alikes, *_ = nodes.split_samples(*given)
    sides = samples.set_index("file")["split"]
    assert (sides[one] == sides[other]) == (on_leak == "move")
    assert look_alikes[["file_1", "file_2"]].iloc[0].tolist() == sorted([one, other])
    assert any(one[:3] in warning and other[:3] in warning for warning in report["warnings"])


def test_the_same_file_in_two_splits_is_warned_of():
    accepted, quarantine = check(entry("x.png"), entry("y.png"))
    given = {"x.png": "train", "y.png": "test"}
    samples, split_report, *_ = nodes.split_samples(
        accepted, FILES, None, given, None, {}, no_key, False, split_parameters(), 42
    )
    report = nodes.write_ingest_report(accepted, quarantine, samples, split_report, {}, FILES)
    assert any("x.png and y.png are the same file" in warning for warning in report["warnings"])
    (unnamed,) = (w for w in report["warnings"] if "that no annotation names" in w)
    assert unnamed.startswith("Files in images/ that no annotation names: 1.")
    assert "ingest.unannotated" in unnamed
    assert isinstance(samples, pd.DataFrame)
