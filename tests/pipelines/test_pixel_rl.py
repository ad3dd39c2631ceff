"""The pipeline ``pixel_rl`` on drawn images, from honest maps to what RL changed."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.partitions import PartitionedDataset
from matplotlib.figure import Figure
from scipy import ndimage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from interruptions import logbook_that_stops
from vesselrl.datasets.checkpoints import CheckpointsDataset
from vesselrl.datasets.npz import NpzDataset
from vesselrl.datasets.run_folder import RunFolderDataset
from vesselrl.datasets.seeds import SeedsDataset
from vesselrl.datasets.torch_state import TorchStateDataset
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.parameters import AugmentationParameters
from vesselrl.pipelines.pixel_rl import create_pipeline
from vesselrl.pipelines.pixel_rl.nodes import train_policies
from vesselrl.pipelines.pixel_rl.reward_nodes import make_reward_maps
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.pixel.parameters import PixelRLParameters
from vesselrl.samples import group_hashes
from vesselrl.segmenters.levels import from_levels, to_levels
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import SupervisedParameters, UnetParameters
from vesselrl.segmenters.unet.segmenter import UnetSegmenter

SIZE = 64
SPLITS = {
    "a": "train", "b": "train", "c": "train", "d": "val", "e": "val", "f": "test",
    "g": "unlabelled", "h": "unlabelled", "i": "unlabelled",
}  # fmt: skip
GROUPS = {sample: sample for sample in SPLITS} | {"i": "f"}
"""Nobody labelled g, h and i; the last is of a test patient."""
SAMPLES = pd.DataFrame({"id": list(SPLITS), "group": GROUPS.values(), "split": SPLITS.values()})
OBJECTIVE = ["dice", "recall"]
ARCHITECTURE = Architecture(1, (4,) * 6, 2)
PIXEL_RL = PixelRLParameters(
    seeds=[7, 8],
    start="distilled",
    resume="auto",
    reward={
        "source": "both",
        "examples": {"max_side": SIZE, "corruptions": 1},
        "training": {
            "members": 2, "features": [4] * 6, "downscale": 2, "patch": 64, "batch": 2,
            "iterations": 6, "learning_rate": 0.02, "ema_decay": 0.9, "checks": 1, "patience": 1,
            "aggregation": "lower_bound", "kappa": 0.5,
        },
    },
    policy={
        "patch": 64, "unlabelled": 2, "labelled": 1, "samples": 2, "inner_steps": 2,
        "iterations": 4, "learning_rate": 0.01, "ema_decay": 0.5, "clip": 0.2, "kl": 0.1,
        "kappa": 1, "check_every": 2, "patience": 3,
    },
)  # fmt: skip
AUGMENTATION = AugmentationParameters(
    angle=10, zoom=0.1, shear=0.1, bend=1, gamma=0.1, gain=0.1, sharpness=0.1, noise=0.02,
    shadows=0, inverted=0,
)  # fmt: skip
SUPERVISED = SupervisedParameters(
    pretrained="none",
    max_side=SIZE,
    folds=2,
    training={
        "features": [4] * 6, "downscale": 2, "norm": "batch", "patch": 64, "batch": 2,
        "iterations": 2, "learning_rate": 0.01, "ema_decay": 0.9, "checks": [1], "patience": 1,
    },
    students={"iterations": 1, "learning_rate": 0.01},
    augmentation=AUGMENTATION,
)  # fmt: skip
SEGMENTER_HISTORY = pd.DataFrame(
    [
        ("supervised", 9.0), ("fold_0", 7.0), ("fold_1", 10.0), ("distilled", 2.0),
        ("pseudo_labelled", 1.0),
    ],
    columns=["network", "seconds"],
)  # fmt: skip
FIGURES = ["pixel_rl.training_figure", "pixel_rl_dice_figure", "pixel_rl_gallery_figure"]
STORED = ["pixel_reward_examples", "pixel_reward_maps", "pixel_rl.network_maps"]


class Kept(MemoryDataset):
    """Stays after the last node that needs it."""

    def _release(self):
        pass


def draw(number):
    """A dark line in noise, its mask, and maps of segmenters that never saw it."""
    rng = np.random.default_rng(number)
    mask, x = np.zeros((SIZE, SIZE), bool), np.arange(SIZE)
    mask[(SIZE / 2 + rng.uniform(8, 20) * np.sin(x / rng.uniform(8, 20))).astype(int), x] = True
    mask = ndimage.binary_dilation(mask, iterations=2)
    image = np.clip(150 - 60 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)
    answers = [ndimage.binary_dilation(mask, iterations=2), mask]
    levels = to_levels(
        np.stack([ndimage.gaussian_filter(a.astype(np.float32), 1) for a in answers])
    )
    return image, mask, {"levels": levels, "iterations": np.array([1, 2])}


WORLD = {sample: draw(number) for number, sample in enumerate(SPLITS)}


def partitions(make, *splits):
    return {s: partial(make, s) for s in WORLD if not splits or SPLITS[s] in splits}


def example(sample):
    image, mask, _ = WORLD[sample]
    known = {} if SPLITS[sample] == "unlabelled" else {"truth": mask.astype(np.uint8) * 255}
    return {"image": image, **known}


def networks():
    names = ("supervised", "fold_0", "fold_1", "distilled")
    return {
        name: SegmentationNetwork(ARCHITECTURE.build(seed).eval(), ARCHITECTURE, SIZE).state()
        for seed, name in enumerate(names)
    }


INPUTS = {
    "images": partitions(lambda s: WORLD[s][0]),
    "masks": partitions(lambda s: WORLD[s][1], "train", "val", "test"),
    "segmenter_examples": partitions(example, "train", "val", "unlabelled"),
    "cross_fitted": partitions(lambda s: WORLD[s][2], "train", "val"),
    "segmenter_networks": networks(),
    "segmenter_history": SEGMENTER_HISTORY,
    "samples": SAMPLES,
    "params:pixel_rl": PIXEL_RL,
    "params:supervised": SUPERVISED,
    "params:report.objective": OBJECTIVE,
    "params:seed": 0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pixel_rl")


@pytest.fixture(scope="module")
def catalog(folder):
    catalog = DataCatalog(
        {
            "pixel_reward": TorchStateDataset(filepath=str(folder / "reward_net.pth")),
            "pixel_reward_history": CSVDataset(
                filepath=str(folder / "history.csv"), save_args={"index": False}
            ),
            "pixel_reward_checkpoints": CheckpointsDataset(folder=str(folder / "checkpoints")),
            "pixel_rl.weights": SeedsDataset(
                path=str(folder / "weights"),
                file="segmenter.safetensors",
                dataset={"type": "vesselrl.datasets.unet_weights.UnetWeightsDataset"},
            ),
            "pixel_rl.run_folder": RunFolderDataset(folder=str(folder / "pixel_rl")),
            **{
                name: PartitionedDataset(
                    path=str(folder / name), dataset=NpzDataset, filename_suffix=".npz"
                )
                for name in STORED
            },
        }
    )
    for name, value in INPUTS.items():
        catalog[name] = value
    for name in create_pipeline().all_outputs() - set(catalog.keys()):
        catalog[name] = Kept()
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


def test_the_reward_network_learns_from_labelled_images_alone(catalog):
    assert sorted(catalog.load("pixel_reward_examples")) == ["a", "b", "c", "d", "e"]


def test_images_of_test_patients_are_not_learnt_from_even_without_label(catalog):
    assert sorted(catalog.load("pixel_reward_maps")) == ["d", "e", "g", "h"]
    for load in catalog.load("pixel_reward_maps").values():
        assert load()["rewarded"].shape == (3, SIZE, SIZE)


def test_without_other_images_training_images_are_judged_by_what_never_saw_them():
    labelled = SAMPLES[SAMPLES["split"] != "unlabelled"]
    by_folds = PIXEL_RL.model_copy(
        update={"reward": PIXEL_RL.reward.model_copy(update={"source": "ensemble"})}
    )
    maps = make_reward_maps(
        INPUTS["segmenter_examples"],
        INPUTS["cross_fitted"],
        INPUTS["segmenter_networks"],
        reward_state(),
        labelled,
        by_folds,
    )
    assert sorted(maps) == ["a", "b", "c", "d", "e"]
    _, q, spread = maps["a"]()["rewarded"]
    honest = from_levels(WORLD["a"][2]["levels"][1])  # of the longest training
    np.testing.assert_allclose(q / 255, honest, atol=0.5 / 255 + 1e-6)
    assert not spread.any()


def reward_state():
    architecture = Architecture(2, (4,) * 6, 2)
    return RewardNetwork([architecture.build()], architecture, SIZE, Scoring("min", 0)).state()


def test_the_report_tells_what_each_who_could_pay_is_worth(catalog):
    report = json.loads(json.dumps(catalog.load("pixel_reward_report"), allow_nan=False))
    assert report["paid_by"] == "both"
    for source in ("network", "ensemble", "both"):
        assert report[source]["n_images"] == 2
        assert -1 <= report[source]["within_image_tau"] <= 1
        assert report[source]["mae"] >= 0


def test_every_seed_has_a_network_a_history_and_its_facts(catalog):
    models, histories, infos = (
        catalog.load(f"pixel_rl.{name}") for name in ("models", "histories", "training_infos")
    )
    assert list(models) == list(histories) == list(infos) == [7, 8]
    for seed, info in infos.items():
        assert SegmentationNetwork.from_state(models[seed]).max_side == SIZE
        assert histories[seed]["steps"].tolist() == [0, 2, 4]
        assert info["seed"] == seed
        assert (info["unlabelled_images"], info["training_images"]) == (2, 3)
        assert info["val_dice"] == histories[seed].set_index("steps")["val_dice"][info["kept_step"]]
        json.dumps(info, allow_nan=False)


def test_maps_of_validation_and_test_images_are_of_every_seed_and_of_the_rival(catalog):
    maps = catalog.load("pixel_rl.network_maps")
    runs = ("pixel_rl", "pixel_rl/seeds/8", "refine")
    assert sorted(maps) == sorted(f"{run}/{sample}" for run in runs for sample in "def")
    for seed, run in ((7, "pixel_rl"), (8, "pixel_rl/seeds/8")):
        network = SegmentationNetwork.from_state(catalog.load("pixel_rl.models")[seed])
        stored = maps[f"{run}/f"]()
        np.testing.assert_array_equal(
            stored["levels"], to_levels(network.probability(WORLD["f"][0]))
        )
        assert stored["seconds"] > 0


def test_the_exported_networks_are_those_after_rl_and_can_be_the_segmenter(catalog, folder):
    states = catalog.load("pixel_rl.models")
    for seed, path in ((7, "segmenter.safetensors"), (8, "seeds/8/segmenter.safetensors")):
        segmenter = UnetSegmenter(
            UnetParameters(
                kind="unet",
                weights=str(folder / "weights" / path),
                default_prompt="tree",
                prompts={"tree": {"operating_point": 0.5, "zoom": 1}},
            )
        )
        (map_,) = segmenter.probabilities(WORLD["f"][0], ["tree"])
        ours = SegmentationNetwork.from_state(states[seed]).probability(WORLD["f"][0])
        np.testing.assert_allclose(map_, ours, atol=5e-3)  # stored as fp16


def test_the_exported_networks_tell_whom_they_learned_from(catalog):
    for state in catalog.load("pixel_rl.models").values():
        assert state["groups"] == group_hashes(SAMPLES, list("abcgh"))


def test_every_map_after_rl_tells_its_seed(catalog):
    maps = catalog.load("pixel_rl.network_maps")
    assert maps["pixel_rl/d"]()["seed"] == 7
    assert maps["pixel_rl/seeds/8/d"]()["seed"] == 8


def test_costs_count_what_was_trained_before(catalog):
    facts, infos = (
        catalog.load(f"pixel_rl.{name}") for name in ("network_facts", "training_infos")
    )
    reward = catalog.load("pixel_reward_history")["seconds"].max()
    before = 10 + 2 + reward  # the slowest fold, the student, the reward network
    expected = before + infos[7]["seconds"]
    assert facts["pixel_rl"]["training_seconds"] == pytest.approx(expected, abs=0.01)
    assert facts["pixel_rl"]["passes"] == 1
    assert facts["refine"]["passes"] == 2 + 2
    without_student = 10 + reward
    assert facts["refine"]["training_seconds"] == pytest.approx(without_student, abs=0.01)


def test_images_are_compared_before_and_after(catalog):
    table = catalog.load("pixel_rl_validation")
    assert len(table) == 2 * 3
    kept_nothing = {
        s for s, i in catalog.load("pixel_rl.training_infos").items() if not i["kept_step"]
    }
    same = table[(table["method"] == "pixel_rl") & table["seed"].isin(kept_nothing)]
    np.testing.assert_allclose(same["dice_after"], same["dice_before"])


def test_every_figure_is_drawn(catalog):
    assert all(isinstance(catalog.load(name), Figure) for name in FIGURES)


@pytest.fixture
def train(catalog):
    def run(folder, examples=INPUTS["segmenter_examples"]):
        return train_policies(
            INPUTS["images"],
            INPUTS["masks"],
            examples,
            catalog.load("pixel_reward_maps"),
            INPUTS["segmenter_networks"],
            catalog.load("pixel_reward_report"),
            SAMPLES,
            RunFolderDataset(folder=str(folder), final="final_model.pth").load(),
            PIXEL_RL,
            SUPERVISED,
            OBJECTIVE,
        )

    return run


def test_an_interrupted_run_goes_on_and_ends_in_the_same_networks_and_logs(
    train, catalog, tmp_path, monkeypatch
):
    told = []

    # in the second seed's second look, before it is in a checkpoint
    dies = logbook_that_stops(5, told)
    with monkeypatch.context() as patch:
        patch.setattr("vesselrl.rl.pixel.seeds.Logbook", dies)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    models, histories, _ = train(tmp_path)
    assert told == [1, 2, 3, 1, 2]
    for seed, whole in catalog.load("pixel_rl.models").items():
        for name, weights in whole["weights"].items():
            torch.testing.assert_close(models[seed]["weights"][name], weights, rtol=0, atol=0)
        pd.testing.assert_frame_equal(histories[seed], catalog.load("pixel_rl.histories")[seed])
        folder = tmp_path if seed == 7 else tmp_path / "seeds/8"
        log = EventAccumulator(str(folder / "logs/PPO_1")).Reload()
        scalars = log.Scalars("custom/val_objective")
        assert [event.step for event in scalars] == [0, 2, 4]
        gold = histories[seed]["val_gold"]
        np.testing.assert_allclose([event.value for event in scalars], gold, rtol=1e-6)


@pytest.mark.parametrize("sample", ["a", "d"])
def test_a_label_that_was_corrected_makes_it_another_training(train, catalog, tmp_path, sample):
    corrected = INPUTS["segmenter_examples"] | {
        sample: lambda: {"image": WORLD[sample][0], "truth": np.zeros((SIZE, SIZE), np.uint8)}
    }
    _, _, infos = train(tmp_path, corrected)
    assert infos[7]["fingerprint"] != catalog.load("pixel_rl.training_infos")[7]["fingerprint"]


def test_a_finished_run_is_kept_when_another_begins(train, tmp_path):
    (tmp_path / "final_model.pth").write_text("an earlier network")
    (tmp_path / "training_info.json").write_text("{}")
    train(tmp_path)
    (kept,) = (tmp_path / "previous").iterdir()
    assert (kept / "final_model.pth").read_text() == "an earlier network"
