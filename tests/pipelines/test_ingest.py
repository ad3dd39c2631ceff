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

CONF = Path(__file__).parents[2] / "conf" / "base"
INGEST = IngestParameters(strict=False, max_pixels=10_000)
ANNOTATIONS = AnnotationsParameters(format="list", max_json_mb=10)
SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]


def split_parameters(**limits):
    return SplitParameters(
        fractions={"train": 0.6, "val": 0.2, "test": 0.2},
        group_pattern=r"^(p\d+)_",
        max_images={"train": None, "val": None, "test": None, **limits},
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
def test_look_alikes_of_different_patients_are_told_kept_together_or_a_reason_to_stop(on_leak):
    images = {f"p{n:02}_f1.png": (lambda n=n: textured(n)) for n in range(12)}
    files = [f"p{n:02}_f1.png" for n in range(12)]
    parameters = split_parameters()
    apart = nodes.split_samples(
        check(*map(entry, files), images=images)[0],
        None, None, None, {}, no_key, False, parameters, 42,
    )[0].set_index("file")["split"]  # fmt: skip
    one, other = (apart.index[apart == side][0] for side in ("train", "test"))
    accepted, _ = check(*map(entry, files), images=images | {other: images[one]})
    parameters = parameters.model_copy(update={"on_leak": on_leak})
    given = (accepted, None, None, None, {}, no_key, False, parameters, 42)
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
        accepted, None, given, None, {}, no_key, False, split_parameters(), 42
    )
    report = nodes.write_ingest_report(accepted, quarantine, samples, split_report, {}, FILES)
    assert any("x.png and y.png are the same file" in warning for warning in report["warnings"])
    assert "1 files in images/ have no entry in the annotations." in report["warnings"]
    assert isinstance(samples, pd.DataFrame)
