"""The pipeline ``reward_net`` on drawn images, from candidates to the report card."""

import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.partitions import PartitionedDataset
from matplotlib.figure import Figure
from scipy import ndimage

from effort import effort
from vesselrl import ahead
from vesselrl.datasets.checkpoints import CheckpointsDataset
from vesselrl.datasets.npz import NpzDataset
from vesselrl.datasets.torch_state import TorchStateDataset
from vesselrl.errors import VesselrlError
from vesselrl.pipelines.reward_net import create_pipeline
from vesselrl.pipelines.reward_net.nodes import (
    _others,
    make_reward_examples,
    score_actions,
    score_unseen,
    train_network,
    write_report_card,
)
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.parameters import RewardParameters
from vesselrl.reward.scenes import Scene
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.parameters import ActionParameters
from vesselrl.samples import ids_of
from vesselrl.segmenters.levels import from_levels, to_levels
from vesselrl.segmenters.parameters import FilterParameters

SIZE = 80
SPLITS = {"a": "train", "b": "train", "c": "train", "d": "val", "e": "val", "f": "test"}
REWARD = RewardParameters(
    examples={"max_side": 64, "corruptions": 2},
    training={
        "members": 2, "features": [4, 8, 8, 8, 8, 4], "downscale": 2, "patch": 64, "batch": 2,
        "iterations": 20, "learning_rate": 0.02, "ema_decay": 0.9, "checks": 2, "patience": 2,
        "aggregation": "lower_bound", "kappa": 0.5,
    },
    scalar={
        "side": 32, "channels": [8] * 4, "batch": 4, "iterations": 3, "learning_rate": 0.01,
    },
    unseen_segmenter={
        "kind": "tophat", "default_prompt": "vessels", "max_side": 64,
        "prompts": {"vessels": {"scales": [5], "fraction": 0.1, "min_size": 0}},
    },
    fitness={"tau": 0.3, "hacks_right": 0.75},
)  # fmt: skip
PROMPT = {"scales": [2], "fraction": 0.1, "min_size": 0}
SEGMENTER = FilterParameters(
    kind="ridge", default_prompt="good", max_side=320, prompts={"good": PROMPT, "thick": PROMPT}
)
ACTIONS = ActionParameters(
    thresholds=[0.3, 0.5, 0.7],
    operations={"erode": {"kind": "erode"}, "dilate": {"kind": "dilate"}},
)
SETTINGS = 2 * 3 * 3
OBJECTIVE = ["dice", "recall"]
FIGURES = [
    "reward_net_figure",
    "reward_error_maps_figure",
    "reward_hacks_figure",
    "reward_examples_figure",
]


def draw(number):
    """A dark line in noise, its mask, and two prompts' answers."""
    rng = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), bool)
    x = np.arange(SIZE)
    mask[(SIZE / 2 + rng.uniform(8, 25) * np.sin(x / rng.uniform(8, 20))).astype(int), x] = True
    mask = ndimage.binary_dilation(mask, iterations=2)
    image = np.clip(150 - 60 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)
    answers = np.stack([mask, ndimage.binary_dilation(mask, iterations=3)]).astype(np.float32)
    levels = to_levels(np.stack([ndimage.gaussian_filter(answer, 1) for answer in answers]))
    return image, mask, {"levels": levels}


WORLD = {sample: draw(number) for number, sample in enumerate(SPLITS)}
SAMPLES = pd.DataFrame({"id": list(SPLITS), "group": list(SPLITS), "split": list(SPLITS.values())})


def partitions(part):
    return {sample: (lambda p=parts[part]: p) for sample, parts in WORLD.items()}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward_net")
    catalog = DataCatalog(
        {
            "reward_history": CSVDataset(
                filepath=str(folder / "history.csv"), save_args={"index": False}
            ),
            **{name: MemoryDataset() for name in (*FIGURES, "scalar_judges")},
            "reward_network": TorchStateDataset(filepath=str(folder / "best_reward_net.pth")),
            "reward_checkpoints": CheckpointsDataset(folder=str(folder / "checkpoints")),
            "scalar_judges": TorchStateDataset(filepath=str(folder / "scalar_judges.pth")),
            "reward_hacks": CSVDataset(
                filepath=str(folder / "hacks.csv"), save_args={"index": False}
            ),
            "reward_net_report": JSONDataset(filepath=str(folder / "report.json")),
            **{
                name: PartitionedDataset(
                    path=str(folder / name), dataset=NpzDataset, filename_suffix=".npz"
                )
                for name in ("reward_examples", "action_scores", "unseen_scores")
            },
        }
    )
    for part, name in enumerate(("images", "masks", "candidates")):
        catalog[name] = partitions(part)
    catalog["samples"] = SAMPLES
    catalog["params:reward"], catalog["params:seed"] = REWARD, 0
    catalog["params:segmenter"], catalog["params:actions"] = SEGMENTER, ACTIONS
    catalog["params:report.objective"] = OBJECTIVE
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


def test_examples_are_made_of_training_and_validation_images_alone(catalog):
    assert sorted(catalog.load("reward_examples")) == ["a", "b", "c", "d", "e"]


def test_every_setting_of_every_image_not_trained_on_is_scored(catalog):
    stored = catalog.load("action_scores")
    assert sorted(stored) == sorted(sample for sample, split in SPLITS.items() if split != "train")
    for load in stored.values():
        scores = load()
        assert set(scores) == {
            "true_dice", "true_recall", "true_precision",
            "predicted_dice", "predicted_recall", "predicted_precision",
            "raw_dice", "raw_recall", "raw_precision", "disagreement",
            "rival_confidence", "rival_entropy", "rival_agreement", "rival_connectivity",
            "rival_scalar", "rival_galdran", "opinion_seconds", "judging_seconds",
        }  # fmt: skip
        assert scores.pop("opinion_seconds") > 0
        assert scores.pop("judging_seconds") > 0
        for score in scores.values():
            assert score.shape == (SETTINGS,)
            assert score.dtype == np.float64
            assert score.max() <= 1


def test_scores_stand_in_the_order_of_the_settings(catalog):
    """The stored scores equal those of each mask judged alone, by the network read from disk."""
    image, truth, stored = WORLD["f"]
    network = RewardNetwork.from_state(catalog.load("reward_network"))
    scene = Scene.of(image, from_levels(stored["levels"]), truth, network)
    actions = ActionSet.of(["good", "thick"], "good", ACTIONS)
    scores = catalog.load("action_scores")["f"]()
    for index, setting in enumerate(actions.settings):
        mask = actions.setting_mask(scene.probabilities, setting)[None]
        for source, judged in (
            ("true", scene.true_scores(mask)),
            ("predicted", scene.predicted_scores(mask)),
        ):
            for key, score in judged.items():
                assert score[0] == pytest.approx(scores[f"{source}_{key}"][index], abs=1e-6)


@pytest.fixture
def worth_workers(monkeypatch):
    """Worker processes do what can be done ahead, but for the first two images."""
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    monkeypatch.setattr(ahead, "WORTH_IT", 1e-9)


ALL_OF_THEM = {split: SAMPLES.assign(split=split) for split in ("train", "val", "test")}


def require_the_same(makers, stored):
    """What is stored is made again by these makers, which may make more, but for seconds."""
    made = {sample: make() for sample, make in makers.items()}
    for sample, load in stored.items():
        for key, array in load().items():
            if not key.endswith("seconds"):
                np.testing.assert_array_equal(made[sample][key], array)


@pytest.mark.usefixtures("worth_workers")
def test_many_images_are_scored_by_worker_processes_with_the_same_result(catalog):
    inputs = ("images", "masks", "candidates", "reward_network", "scalar_judges")
    world = tuple(map(catalog.load, inputs))
    makers = score_actions(*world, ALL_OF_THEM["val"], SEGMENTER, ACTIONS)
    require_the_same(makers, catalog.load("action_scores"))
    images, masks, _, network, _ = world
    makers = score_unseen(images, masks, network, ALL_OF_THEM["test"], REWARD, ACTIONS)
    require_the_same(makers, catalog.load("unseen_scores"))


@pytest.mark.usefixtures("worth_workers")
def test_many_examples_are_made_by_worker_processes_with_the_same_result(catalog):
    world = (catalog.load(name) for name in ("images", "masks", "candidates"))
    makers = make_reward_examples(*world, ALL_OF_THEM["train"], REWARD, 0)
    require_the_same(makers, catalog.load("reward_examples"))


def test_the_unseen_segmenters_masks_are_scored_on_test_images(catalog):
    stored = catalog.load("unseen_scores")
    assert sorted(stored) == ["f"]
    assert stored["f"]()["true_dice"].shape == (1 * 3 * 3,)


def test_the_report_card_is_plain_json_with_a_verdict_rivals_and_hacks(catalog):
    card = json.loads(json.dumps(catalog.load("reward_net_report"), allow_nan=False))
    assert set(card) == {"val", "test", "unseen", "fit", "reason", "rivals", "hacks"}
    assert card["val"]["n_images"] == 2
    assert card["test"]["n_images"] == card["unseen"]["n_images"] == 1
    assert set(card["rivals"]) == {
        "confidence", "entropy", "agreement", "connectivity", "scalar", "galdran",
    }  # fmt: skip
    assert card["rivals"]["scalar"]["val"]["n_images"] == 2
    assert [len(card["hacks"][split]) for split in ("val", "test")] == [8, 8]


def test_every_figure_is_drawn(catalog):
    assert all(isinstance(catalog.load(name), Figure) for name in FIGURES)


def test_the_truth_of_another_patient_is_tried_on_each_image(catalog):
    table = catalog.load("reward_hacks")
    assert set(table["split"]) == {"val", "test"}
    for split, rows in table.groupby("split"):
        assert list(rows["image"]) == list(np.repeat(ids_of(SAMPLES, split), 8))
    foreign = table[(table["hack"] == "other_truth") & (table["split"] == "val")]
    assert (foreign["true"] < 0.9).all()


@pytest.mark.parametrize(
    ("groups", "others"), [("aabcaa", "223422"), ("aaa", "120"), ("ab", "10"), ("a", "0")]
)  # fmt: skip
def test_the_other_truth_is_the_next_patients_where_there_is_another(groups, others):
    ids = list("012345")[: len(groups)]
    table = pd.DataFrame({"id": ids, "group": list(groups)})
    assert "".join(_others(table)[sample] for sample in ids) == others


def test_finding_other_truths_is_no_search_through_all_images():
    def find(count):
        ids = [str(number) for number in range(count)]
        table = pd.DataFrame({"id": ids, "group": [str(number // 8) for number in range(count)]})
        return effort(lambda: _others(table))

    assert find(1600) < 12 * find(160)


def test_a_finished_training_leaves_weights_in_two_forms_and_no_checkpoints(catalog):
    names = {path.name for path in catalog["reward_network"]._filepath.parent.iterdir()}
    assert {"best_reward_net.pth", "best_reward_net.safetensors"} <= names
    assert "checkpoints" not in names


def test_history_has_a_row_for_every_member_and_check(catalog):
    history = catalog.load("reward_history")
    assert list(history.columns) == ["member", "iteration", "loss", "tau", "seconds"]
    assert history[["member", "iteration"]].to_numpy().tolist() == [
        [0, 10],
        [0, 20],
        [1, 10],
        [1, 20],
    ]


def test_without_test_images_the_card_is_of_validation_alone(catalog):
    known = SAMPLES[SAMPLES["split"] != "test"]
    hacks = catalog.load("reward_hacks")
    card = write_report_card(
        catalog.load("action_scores"),
        {},
        hacks[hacks["split"] == "val"],
        known,
        REWARD,
        OBJECTIVE,
    )
    assert card["test"] == {"n_images": 0}
    assert card["val"] == catalog.load("reward_net_report")["val"]


def test_without_validation_images_training_stops_with_a_sentence(catalog):
    with pytest.raises(VesselrlError, match="'val' has no images"):
        train_network(
            catalog.load("reward_examples"),
            SAMPLES[SAMPLES["split"] != "val"],
            catalog.load("reward_checkpoints"),
            REWARD,
            OBJECTIVE,
            0,
        )
