import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError
from kedro.runner import SequentialRunner

from vesselrl.datasets.candidates import CandidatesDataset
from vesselrl.datasets.npz import NpzDataset
from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError
from vesselrl.networks.architecture import Architecture
from vesselrl.pipelines.segment import create_pipeline
from vesselrl.pipelines.segment.nodes import segment_images
from vesselrl.samples import group_hashes
from vesselrl.segmenters import base, candidate_folder
from vesselrl.segmenters.parameters import FilterParameters
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import UnetParameters
from vesselrl.segmenters.unet.weights import save_weights

CATALOG = Path(__file__).parents[2] / "conf/base/catalog_segment.yml"
PARAMETERS = FilterParameters(
    kind="ridge",
    default_prompt="all",
    max_side=320,
    prompts={
        "all": {"scales": [2], "fraction": 0.1, "min_size": 0},
        "large": {"scales": [3], "fraction": 0.05, "min_size": 20},
    },
)

HERE = RayParameters(num_workers=0, gpus_per_worker=0, address=None)
"""No workers on Ray."""


class FailsOnBlack:
    """Answers with the prompt's number; raises for an image of zeros."""

    encoder_passes = 0

    def probabilities(self, image, prompts):
        if not image.any():
            raise RuntimeError("nothing to see")
        self.encoder_passes += 1
        return np.stack([np.full(image.shape, i / 4, np.float32) for i in range(len(prompts))])


def run(folder, images, segmenter=None, monkeypatch=None):
    if segmenter:
        monkeypatch.setattr(candidate_folder, "build_segmenter", lambda parameters: segmenter)
    splits = ["train", "val", "test"]
    samples = pd.DataFrame(
        {
            "id": list(images),
            "group": list(images),
            "split": [splits[i % 3] for i in range(len(images))],
        }
    )
    entries = yaml.safe_load(CATALOG.read_text())
    catalog = DataCatalog.from_config(
        {
            name: entries[name] | {"filepath": str(folder / f"{name}.csv")}
            for name in ("segment_failures", "segment_timing")
        }
    )
    catalog["candidates"] = CandidatesDataset(path=str(folder / "candidates"))
    catalog["images"] = {sample: lambda i=image: i for sample, image in images.items()}
    catalog["masks"] = {sample: lambda i=image: i > 100 for sample, image in images.items()}
    catalog["samples"] = samples
    catalog["params:segmenter"] = PARAMETERS
    catalog["params:ray"] = HERE
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    return catalog, outputs


def grey(value, shape=(12, 16)):
    return np.full(shape, value, np.uint8)


def test_each_image_keeps_its_own_maps(tmp_path):
    random = np.random.default_rng(0)
    images = {f"{i:03}": random.integers(0, 255, (20 + i, 30), dtype=np.uint8) for i in range(1, 5)}
    catalog, _ = run(tmp_path, images)
    model = base.build_segmenter(PARAMETERS)
    stored = catalog.load("candidates")
    assert sorted(stored) == ["001", "002", "003", "004"]
    for sample, image in images.items():
        maps = stored[sample]()
        expected = model.probabilities(image, ["all", "large"]) > 0.5
        np.testing.assert_array_equal(maps["levels"] > 127, expected)
        assert maps["prompts"].tolist() == ["all", "large"]
        assert maps["seconds"] > 0
        assert str(maps["error"]) == ""


def test_a_failing_image_gives_empty_maps_a_row_and_a_traceback(tmp_path, monkeypatch, caplog):
    images = {"001": grey(9), "002": grey(0), "003": grey(7)}
    with caplog.at_level(logging.DEBUG, logger="vesselrl"):
        catalog, _ = run(tmp_path, images, FailsOnBlack(), monkeypatch)
    stored = catalog.load("candidates")
    assert stored["002"]()["levels"].shape == (2, 12, 16)
    assert not stored["002"]()["levels"].any()
    assert stored["003"]()["levels"][1].any()
    failures = catalog.load("segment_failures")
    assert failures.to_dict("records") == [{"id": "002", "error": "RuntimeError: nothing to see"}]
    own = [r for r in caplog.records if r.name.startswith("vesselrl")]
    assert "tried again when the stage runs again" in own[-1].getMessage()
    assert [bool(r.exc_info) for r in own if r.levelno == logging.DEBUG] == [True]
    assert all(not r.exc_info for r in own if r.levelno >= logging.INFO)


@pytest.mark.parametrize("answer", [np.zeros((2, 3, 3)), np.full((2, 12, 16), np.nan)])
def test_maps_that_are_no_probabilities_count_as_a_failure(tmp_path, monkeypatch, answer):
    class Wrong(FailsOnBlack):
        def probabilities(self, image, prompts):
            return answer if image[0, 0] == 9 else super().probabilities(image, prompts)

    catalog, _ = run(tmp_path, {"001": grey(9), "002": grey(7)}, Wrong(), monkeypatch)
    assert catalog.load("segment_failures")["id"].tolist() == ["001"]


def test_a_segmenter_that_fails_on_every_image_stops_the_run_with_a_sentence(tmp_path, monkeypatch):
    images = {"001": grey(0), "002": grey(0)}
    with pytest.raises(
        VesselrlError, match="failed on all 2 images.* 001: RuntimeError: nothing to see"
    ):
        run(tmp_path, images, FailsOnBlack(), monkeypatch)
    assert (
        len(
            run(tmp_path, images | {"003": grey(7)}, FailsOnBlack(), monkeypatch)[0].load(
                "segment_failures"
            )
        )
        == 2
    )


def test_without_failures_the_table_still_has_its_columns(tmp_path):
    catalog, _ = run(tmp_path, {"001": grey(9)})
    failures = catalog.load("segment_failures")
    assert list(failures.columns) == ["id", "error"]
    assert failures.empty
    timing = catalog.load("segment_timing")
    assert list(timing.columns) == ["id", "seconds", "calls", "encoder_passes", "gpu_mb"]
    assert timing["id"].tolist() == ["001"]
    assert timing["calls"].tolist() == [2]
    assert timing[["encoder_passes", "gpu_mb"]].isna().all(axis=None)


def test_passes_of_the_encoder_are_counted_where_the_segmenter_tells(tmp_path, monkeypatch):
    images = {"001": grey(9), "002": grey(0), "003": grey(7)}
    catalog, _ = run(tmp_path, images, FailsOnBlack(), monkeypatch)
    assert catalog.load("segment_timing")["encoder_passes"].tolist() == [1, 0, 1]


def test_maps_of_images_that_are_gone_do_not_remain(tmp_path):
    run(tmp_path, {"001": grey(9), "002": grey(9)})
    run(tmp_path, {"002": grey(9)})
    assert [file.name for file in (tmp_path / "candidates").iterdir()] == ["002.npz"]


def test_candidates_that_are_not_there_are_told(tmp_path):
    dataset = CandidatesDataset(path=str(tmp_path))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="No candidates in"):
        dataset.load()


def test_the_overview_shows_training_and_validation_images_only(tmp_path):
    _, outputs = run(tmp_path, {f"{i:03}": grey(9) for i in range(6)})
    figure = outputs["segment_overview"].load()
    shown = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert shown == ["000", "001", "003", "004"]


def test_arrays_of_objects_are_refused(tmp_path):
    dataset = NpzDataset(filepath=str(tmp_path / "x.npz"))
    with pytest.raises(Exception, match="[Oo]bject arrays"):
        dataset.save({"x": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_as_they_were_saved(tmp_path):
    dataset = NpzDataset(filepath=str(tmp_path / "deep" / "x.npz"))
    saved = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "names": np.array(["ä", "bcd"])}
    dataset.save(saved)
    loaded = dataset.load()
    assert loaded.keys() == saved.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)


@pytest.mark.parametrize(("known", "told"), [("p1", True), ("p2", False)])
def test_weights_that_learned_from_training_patients_are_told(monkeypatch, caplog, known, told):
    samples = pd.DataFrame({"id": ["a", "b"], "group": ["p1", "p2"], "split": ["train", "test"]})
    learned = group_hashes(samples[samples["group"] == known], ["a", "b"])
    monkeypatch.setattr(FilterParameters, "learned_from", lambda _: learned)
    ray = RayParameters(num_workers=0, gpus_per_worker=0, address=None)
    segment_images({"a": np.zeros, "b": np.zeros}, samples, PARAMETERS, ray)
    assert ("learned from 1 of the training groups" in caplog.text) is told


@pytest.mark.parametrize(("known", "told"), [("p2", True), ("p9", False)])
def test_weights_that_learned_from_test_patients_are_told(tmp_path, caplog, known, told):
    samples = pd.DataFrame({"id": ["a", "b"], "group": ["p1", "p2"], "split": ["train", "test"]})
    taught = pd.DataFrame({"id": ["x"], "group": [known], "split": ["train"]})
    architecture = Architecture(1, (4,) * 6, 1)
    network = SegmentationNetwork(
        architecture.build(0), architecture, 64, tuple(group_hashes(taught, ["x"]))
    )
    save_weights(tmp_path / "w.safetensors", network)
    segmenter = UnetParameters(
        kind="unet",
        weights=str(tmp_path / "w.safetensors"),
        default_prompt="tree",
        prompts={"tree": {"operating_point": 0.5, "zoom": 1}},
    )
    segment_images({"a": np.zeros, "b": np.zeros}, samples, segmenter, HERE)
    assert ("learned from 1 of the groups that are in validation or test" in caplog.text) is told
