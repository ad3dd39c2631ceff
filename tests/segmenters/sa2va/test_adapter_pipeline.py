"""The pipeline ``sa2va_rl``: from a model and a reward network to adapters, and maps with them."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.partitions import PartitionedDataset
from matplotlib.figure import Figure
from stand_in import build, parameters_of

from interruptions import logbook_that_stops
from vesselrl.datasets.npz import NpzDataset
from vesselrl.datasets.run_folder import RunFolderDataset
from vesselrl.datasets.seeds import SeedsDataset
from vesselrl.datasets.tensors import TensorsDataset
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.networks import network_deciders
from vesselrl.evaluation.parameters import Method
from vesselrl.networks.architecture import Architecture
from vesselrl.pipelines.sa2va_rl import create_pipeline
from vesselrl.pipelines.sa2va_rl.nodes import encode_images, train_adapters
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.pixel.parameters import Sa2vaRLParameters
from vesselrl.samples import group_hashes
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.parameters import FilterParameters

SPLITS = {"a": "train", "b": "train", "d": "val", "f": "test", "g": "unlabelled", "i": "unlabelled"}
GROUPS = {sample: sample for sample in SPLITS} | {"i": "f"}
"""Nobody labelled g and i; the last is of a test patient."""
SAMPLES = pd.DataFrame({"id": list(SPLITS), "group": GROUPS.values(), "split": SPLITS.values()})
OBJECTIVE = ["dice", "recall"]
SHAPES = dict(
    zip(SPLITS, [(40, 40), (32, 48), (48, 32), (40, 44), (40, 40), (36, 40)], strict=True)
)
PARAMETERS = Sa2vaRLParameters(
    seeds=[7, 8],
    resume="auto",
    max_side=32,
    lora={"rank": 2, "alpha": 4},
    policy={
        "unlabelled": 1, "labelled": 2, "samples": 2, "inner_steps": 1, "iterations": 4,
        "learning_rate": 0.02, "ema_decay": 0.5, "clip": 0.2, "kl": 0.01, "kappa": 1,
        "check_every": 2, "patience": 3,
    },
)  # fmt: skip
FIT = {"fit": True, "reason": ""}


class Kept(MemoryDataset):
    """Stays after the last node that needs it."""

    def _release(self):
        pass


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("models") / "model", "internvl", patch=4)
    return parameters_of(folder, default_prompt="vessels")


@pytest.fixture(scope="module")
def inputs(segmenter):
    """Images, and a truth that is there where the model sees none."""
    model = build_segmenter(segmenter)
    images, masks, candidates = {}, {}, {}
    for number, sample in enumerate(SPLITS):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 256, SHAPES[sample]).astype(np.uint8)
        maps = model.probabilities(image, ["vessels", "thin"])
        images[sample] = partial(np.copy, image)
        candidates[sample] = partial(dict, levels=to_levels(maps))
        if SPLITS[sample] != "unlabelled":
            masks[sample] = partial(np.copy, maps[0] < 0.5)
    architecture = Architecture(2, (4,) * 6, 2)
    return {
        "images": images,
        "masks": masks,
        "candidates": candidates,
        "samples": SAMPLES,
        "reward_network": RewardNetwork(
            [architecture.build(0)], architecture, 32, Scoring("min", 0)
        ).state(),
        "reward_history": pd.DataFrame({"seconds": [1.0, 5.0]}),
        "reward_net_report": FIT,
        "params:sa2va_rl": PARAMETERS,
        "params:segmenter": segmenter,
        "params:report.objective": OBJECTIVE,
        "params:rl.allow_unfit_reward": False,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sa2va_rl")


@pytest.fixture(scope="module")
def catalog(folder, inputs):
    def partitions(name, kind, suffix):
        return PartitionedDataset(
            path=str(folder / name), dataset=kind, filename_suffix=suffix, overwrite=True
        )

    catalog = DataCatalog(
        {
            "sa2va_encodings": partitions("encodings", TensorsDataset, ".safetensors"),
            "sa2va_reward_maps": partitions("reward_maps", NpzDataset, ".npz"),
            "sa2va_rl.network_maps": partitions("network_maps", NpzDataset, ".npz"),
            "sa2va_rl.run_folder": RunFolderDataset(folder=str(folder / "run"), final="adapters"),
            "sa2va_rl.models": SeedsDataset(
                path=str(folder / "run"),
                file="adapters",
                dataset={"type": "vesselrl.datasets.adapters.AdaptersDataset"},
            ),
        }
    )
    for name, value in inputs.items():
        catalog[name] = value
    for name in create_pipeline().all_outputs() - set(catalog.keys()):
        catalog[name] = Kept()
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


def test_images_of_test_patients_are_encoded_to_be_measured_but_not_learnt_from(catalog):
    assert sorted(catalog.load("sa2va_encodings")) == ["a", "b", "d", "f", "g"]
    assert sorted(catalog.load("sa2va_reward_maps")) == ["d", "g"]


def test_the_reward_is_the_networks_at_the_working_size_of_each_image(catalog):
    for sample, load in catalog.load("sa2va_reward_maps").items():
        grey, q, _ = load()["rewarded"]
        height, width = SHAPES[sample]
        assert max(grey.shape) == 32
        assert grey.shape[0] / grey.shape[1] == pytest.approx(height / width, rel=0.05)
        assert q.std() > 0


def test_every_seed_has_adapters_a_history_and_its_facts(catalog, segmenter):
    adapters, histories, infos = (
        catalog.load(f"sa2va_rl.{name}") for name in ("models", "histories", "training_infos")
    )
    assert list(adapters) == list(histories) == list(infos) == [7, 8]
    for seed, info in infos.items():
        assert adapters[seed].base == segmenter.base
        assert histories[seed]["steps"].tolist() == [0, 2, 4]
        assert info["trained_parameters"] == sum(w.numel() for w in adapters[seed].weights.values())
        assert (info["unlabelled_images"], info["training_images"]) == (1, 2)
        assert segmenter.path not in json.dumps(info, allow_nan=False)
    assert any(info["gained"] > 0 for info in infos.values())


def test_the_adapted_model_gives_the_maps_that_are_compared(catalog, folder, segmenter, inputs):
    maps = catalog.load("sa2va_rl.network_maps")
    runs = {7: ("sa2va_rl", "adapters"), 8: ("sa2va_rl/seeds/8", "seeds/8/adapters")}
    assert sorted(maps) == sorted(f"{run}/{s}" for run, _ in runs.values() for s in "df")
    for seed, (run, place) in runs.items():
        tuned = segmenter.model_copy(update={"adapters": str(folder / "run" / place)})
        (whole,) = build_segmenter(tuned).probabilities(inputs["images"]["f"](), ["vessels"])
        stored = maps[f"{run}/f"]()
        difference = stored["levels"].astype(int) - to_levels(whole).astype(int)
        assert np.abs(difference).max() <= 1
        assert stored["seed"] == seed
        assert stored["seconds"] > 0


def test_a_map_of_the_adapted_model_costs_a_call_of_the_segmenter(catalog):
    maps = catalog.load("sa2va_rl.network_maps")
    method = Method(kind="network", network="sa2va_rl", threshold=0.5)
    points = {"sa2va_rl": {"threshold": 0.5}, "sa2va_rl/seeds/8": {"threshold": 0.5}}
    deciders = network_deciders(method, maps, points, ["f"], 0)
    assert list(deciders) == [7, 8]
    case = type("Case", (), {"sample": "f"})
    assert [decide(case).calls for decide in deciders.values()] == [1, 1]


def test_costs_count_the_reward_network(catalog):
    facts, infos = (
        catalog.load(f"sa2va_rl.{name}") for name in ("network_facts", "training_infos")
    )
    seconds = facts["sa2va_rl"]["training_seconds"]
    assert seconds == pytest.approx(5 + infos[7]["seconds"], abs=0.01)
    assert facts["sa2va_rl"]["files"] == ["adapters"]


def test_the_training_is_drawn(catalog):
    assert isinstance(catalog.load("sa2va_rl.training_figure"), Figure)


@pytest.fixture
def train(catalog, inputs):
    def run(folder, **changes):
        given = inputs | changes
        return train_adapters(
            given["images"],
            given["masks"],
            given.get("encodings", catalog.load("sa2va_encodings")),
            catalog.load("sa2va_reward_maps"),
            SAMPLES,
            given["reward_net_report"],
            RunFolderDataset(folder=str(folder), final="adapters").load(),
            PARAMETERS,
            given["params:segmenter"],
            OBJECTIVE,
            given["params:rl.allow_unfit_reward"],
        )

    return run


def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_adapters(
    train, catalog, tmp_path, monkeypatch
):
    told = []

    # in the second seed's second look, before it is in a checkpoint
    dies = logbook_that_stops(5, told)
    with monkeypatch.context() as patch:
        patch.setattr("vesselrl.rl.pixel.seeds.Logbook", dies)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    adapters, histories, _ = train(tmp_path)
    assert told == [1, 2, 3, 1, 2]
    for seed, whole in catalog.load("sa2va_rl.models").items():
        for name, weights in whole.weights.items():
            torch.testing.assert_close(adapters[seed].weights[name], weights, rtol=0, atol=0)
        pd.testing.assert_frame_equal(histories[seed], catalog.load("sa2va_rl.histories")[seed])


def test_a_training_with_another_training_image_is_another_training(
    train, catalog, inputs, tmp_path
):
    changed = inputs["images"] | {"a": lambda: 255 - inputs["images"]["a"]()}
    _, _, infos = train(tmp_path, images=changed)
    assert infos[7]["fingerprint"] != catalog.load("sa2va_rl.training_infos")[7]["fingerprint"]


def test_a_reward_network_that_is_not_fit_does_not_pay(train, tmp_path):
    unfit = {"fit": False, "reason": "It is deceived."}
    with pytest.raises(VesselrlError, match="not fit.*It is deceived.*allow_unfit_reward"):
        train(tmp_path, reward_net_report=unfit)


def test_an_image_in_which_the_model_sees_nothing_is_told_and_left_out(
    train, catalog, inputs, tmp_path, caplog
):
    empty = inputs["params:segmenter"].model_copy(update={"default_prompt": "none"})
    blank = encode_images(inputs["images"], SAMPLES, empty)
    encodings = catalog.load("sa2va_encodings")
    _, _, infos = train(tmp_path, encodings=encodings | {"a": blank["a"]})
    assert infos[7]["without_object"] == 1
    assert "In 1 of 3 images the model finds no object when asked 'vessels'" in caplog.text
    with pytest.raises(VesselrlError, match="Asked 'vessels' the model finds no object in any"):
        train(tmp_path, encodings=encodings | {"g": blank["g"]})


def test_an_image_on_which_the_model_fails_does_not_stop_the_others(inputs, caplog):
    broken = inputs["params:segmenter"].model_copy(update={"default_prompt": "broken"})
    encodings = encode_images(inputs["images"], SAMPLES, broken)
    tensors = encodings["a"]()
    assert len(tensors["hidden"]) == 0
    assert tensors["sizes"].tolist()[1:] == list(SHAPES["a"])
    assert "The model failed on 'a'" in caplog.text
    assert "RuntimeError: the model broke" in caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), "8bit or 4bit"),
        (ValueError("an odd size"), "an odd size.*the traceback is in the log file"),
    ],
)
def test_a_model_that_fails_on_every_image_does_not_count_as_one_that_finds_nothing(
    inputs, monkeypatch, error, told
):
    def fails(*_):
        raise error

    encodings = encode_images(inputs["images"], SAMPLES, inputs["params:segmenter"])
    monkeypatch.setattr("vesselrl.segmenters.sa2va.encoding.Encoder.__call__", fails)
    *first, last = encodings.values()
    assert all(len(make()["hidden"]) == 0 for make in first)
    with pytest.raises(VesselrlError, match=f"failed on all 5 images.*{told}"):
        last()


def test_adapters_tell_the_groups_that_they_learned_from(catalog, folder, segmenter):
    learned = group_hashes(SAMPLES, ["a", "b", "g"])
    for place in ("adapters", "seeds/8/adapters"):
        tuned = segmenter.model_copy(update={"adapters": str(folder / "run" / place)})
        assert tuned.learned_from() == learned
    assert segmenter.learned_from() == []


def test_another_segmenter_or_one_with_adapters_is_refused(train, inputs, folder, tmp_path):
    prompt = {"scales": [2.0], "fraction": 0.1, "min_size": 0}
    ridge = FilterParameters(
        kind="ridge", default_prompt="tree", max_side=64, prompts={"tree": prompt}
    )
    with pytest.raises(VesselrlError, match="segmenter.kind is ridge: add --env sa2va"):
        train(tmp_path, **{"params:segmenter": ridge})
    adapted = {"adapters": str(folder / "run" / "adapters")}
    tuned = inputs["params:segmenter"].model_copy(update=adapted)
    with pytest.raises(VesselrlError, match="segmenter.adapters is set.*leave it out"):
        train(tmp_path, **{"params:segmenter": tuned})
