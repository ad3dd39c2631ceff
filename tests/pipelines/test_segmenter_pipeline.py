"""The pipeline ``segmenter`` on drawn images, from labels to maps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.partitions import PartitionedDataset
from matplotlib.figure import Figure
from scipy import ndimage

from vesselrl.datasets.checkpoints import CheckpointsDataset
from vesselrl.datasets.methods import MaybeNoneDataset, NetworkFactsDataset
from vesselrl.datasets.npz import NpzDataset
from vesselrl.datasets.torch_state import TorchStateDataset
from vesselrl.datasets.unet_weights import StartingWeightsDataset, UnetWeightsDataset
from vesselrl.errors import VesselrlError
from vesselrl.pipelines.segmenter import create_pipeline, nodes
from vesselrl.samples import group_hashes
from vesselrl.segmenters.levels import from_levels
from vesselrl.segmenters.unet.network import SegmentationNetwork, ensemble
from vesselrl.segmenters.unet.parameters import RIVALS, SupervisedParameters
from vesselrl.segmenters.unet.training import Trainee
from vesselrl.segmenters.unet.weights import read_header

SIZE = 80
SUPERVISED = SupervisedParameters(
    pretrained="none",
    max_side=64,
    folds=2,
    training={
        "features": [4] * 6, "downscale": 2, "norm": "batch", "patch": 64, "batch": 2,
        "iterations": 6, "learning_rate": 0.02, "ema_decay": 0.5, "checks": [0.5, 1],
        "patience": 2,
    },
    students={"iterations": 4, "learning_rate": 0.01},
    augmentation={
        "angle": 60, "zoom": 0.2, "shear": 0.1, "bend": 2, "gamma": 0.3, "gain": 0.1,
        "sharpness": 0.5, "noise": 0.03, "shadows": 0.1, "inverted": 0.1,
    },
)  # fmt: skip
SAMPLES = pd.DataFrame(
    {
        "id": list("abcdefghi"),
        "group": ["g1", "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g6"],
        "split": ["train"] * 4 + ["val"] * 2 + ["test", "unlabelled", "unlabelled"],
    }
)
NETWORKS = ["supervised", "fold_0", "fold_1", "distilled", "pseudo_labelled"]


def draw(number):
    rng = np.random.default_rng(number)
    mask, x = np.zeros((SIZE, SIZE), bool), np.arange(SIZE)
    mask[(SIZE / 2 + rng.uniform(8, 25) * np.sin(x / rng.uniform(8, 20))).astype(int), x] = True
    mask = ndimage.binary_dilation(mask, iterations=2)
    return np.clip(150 - 60 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8), mask


WORLD = {sample: draw(number) for number, sample in enumerate(SAMPLES["id"])}
IMAGES = {sample: (lambda i=image: i) for sample, (image, _) in WORLD.items()}
MASKS = {sample: (lambda m=mask: m) for sample, (_, mask) in WORLD.items() if sample not in "hi"}


def make_catalog(folder, samples=SAMPLES):
    def csv(name):
        return CSVDataset(filepath=str(folder / f"{name}.csv"), save_args={"index": False})

    def arrays(name, kind=PartitionedDataset):
        return kind(path=str(folder / name), dataset=NpzDataset, filename_suffix=".npz")

    catalog = DataCatalog(
        {
            "segmenter_examples": arrays("segmenter_examples"),
            "cross_fitted": arrays("cross_fitted"),
            "soft_targets": arrays("soft_targets"),
            "segmenter.network_maps": arrays("maps", MaybeNoneDataset),
            "segmenter.network_facts": NetworkFactsDataset(filepath=str(folder / "facts.json")),
            "starting_weights": StartingWeightsDataset(),
            "segmenter_checkpoints": CheckpointsDataset(folder=str(folder / "checkpoints")),
            "teachers": TorchStateDataset(filepath=str(folder / "teachers.pth")),
            "teacher_history": csv("teacher_history"),
            "segmenter_networks": TorchStateDataset(filepath=str(folder / "networks.pth")),
            "segmenter_history": csv("history"),
            "segmenter_weights": PartitionedDataset(
                path=str(folder / "weights"),
                dataset=UnetWeightsDataset,
                filename_suffix=".safetensors",
            ),
            "segmenter_figure": MemoryDataset(),
        }
    )
    catalog["images"], catalog["masks"], catalog["samples"] = IMAGES, MASKS, samples
    catalog["params:supervised"], catalog["params:seed"] = SUPERVISED, 0
    return catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    catalog = make_catalog(tmp_path_factory.mktemp("segmenter"))
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


def weights_of(state):
    return np.concatenate([w.double().flatten() for w in state["weights"].values()])


def test_no_image_of_a_test_patient_is_learned_from(catalog):
    assert sorted(catalog.load("segmenter_examples")) == list("abcdefh")
    assert sorted(catalog.load("cross_fitted")) == list("abcdef")
    assert sorted(catalog.load("soft_targets")) == ["h"]


def test_images_without_label_have_no_truth(catalog):
    examples = catalog.load("segmenter_examples")
    assert set(examples["h"]()) == {"image"}
    assert set(examples["e"]()) == {"image", "truth"}


def test_all_networks_are_kept_in_two_forms(catalog):
    states = catalog.load("segmenter_networks")
    assert list(states) == NETWORKS
    image = WORLD["g"][0]
    for name, load in catalog.load("segmenter_weights").items():
        expected = SegmentationNetwork.from_state(states[name]).probability(image)
        np.testing.assert_allclose(load().probability(image), expected, atol=5e-3)
    assert sorted(catalog.load("segmenter_weights")) == sorted(NETWORKS)


def test_maps_of_training_images_are_of_the_network_that_never_saw_their_group(catalog):
    teachers, examples = catalog.load("teachers"), catalog.load("segmenter_examples")
    folds = teachers["folds"]
    assert folds["a"] == folds["b"]
    assert set(folds.values()) == {0, 1}
    for sample, load in catalog.load("cross_fitted").items():
        stored = load()
        assert folds.get(sample, stored["fold"]) == stored["fold"]
        stages = teachers["stages"][f"fold_{stored['fold']}"]
        assert stored["iterations"].tolist() == [3] * 4 + [6] * 4
        last = SegmentationNetwork.from_state(stages[6])
        expected = last.probability(examples[sample]()["image"])
        np.testing.assert_allclose(from_levels(stored["levels"][4]), expected, atol=1 / 250)


def test_the_students_learn_what_the_ensemble_and_the_supervised_network_believe(catalog):
    networks = {
        name: SegmentationNetwork.from_state(state)
        for name, state in catalog.load("teachers")["networks"].items()
    }
    targets = catalog.load("soft_targets")["h"]()
    image = catalog.load("segmenter_examples")["h"]()["image"]
    folds = [networks["fold_0"], networks["fold_1"]]
    for name, belief in (
        ("fold_ensemble_tta", ensemble(folds, image, flips=True)),
        ("supervised", networks["supervised"].probability(image)),
    ):
        np.testing.assert_allclose(targets[name] / 255, belief, atol=1 / 250)


def test_every_rival_has_a_map_of_every_validation_and_test_image(catalog):
    maps = catalog.load("segmenter.network_maps")
    assert set(maps) == {f"{rival}/{sample}" for rival in RIVALS for sample in "efg"}
    stored = maps["fold_ensemble/g"]()
    states = catalog.load("segmenter_networks")
    folds = [SegmentationNetwork.from_state(states[f"fold_{n}"]) for n in range(2)]
    assert stored["levels"].shape == (SIZE, SIZE)
    expected = ensemble(folds, WORLD["g"][0])
    np.testing.assert_allclose(from_levels(stored["levels"]), expected, atol=1 / 250)


def test_of_a_pipeline_that_was_not_run_there_are_no_facts_and_no_maps(tmp_path):
    empty = make_catalog(tmp_path)
    assert empty.load("segmenter.network_facts") == {}
    assert empty.load("segmenter.network_maps") == {}


def test_it_is_told_what_it_takes_to_have_each_rival(catalog):
    facts = catalog.load("segmenter.network_facts")
    assert list(facts) == list(RIVALS)
    assert facts["fold_ensemble"]["files"] == ["fold_0.safetensors", "fold_1.safetensors"]
    assert all(fact["training_seconds"] > 0 for fact in facts.values())


def test_history_has_a_row_for_every_network_and_check(catalog):
    history = catalog.load("segmenter_history")
    assert list(history.columns) == nodes.HISTORY_COLUMNS
    assert history.groupby("network", sort=False)["iteration"].agg(list).to_dict() == {
        "supervised": [3, 6], "fold_0": [3, 6], "fold_1": [3, 6],
        "distilled": [2, 4], "pseudo_labelled": [2, 4],
    }  # fmt: skip
    assert history["val_dice"].between(0, 1).all()


def test_the_training_is_drawn(catalog):
    figure = catalog.load("segmenter_figure")
    assert isinstance(figure, Figure)
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert names == {"supervised", "folds", "distilled", "pseudo_labelled"}


def test_a_finished_training_leaves_no_checkpoints(catalog):
    assert not catalog["segmenter_checkpoints"]._folder.exists()


def test_without_images_without_label_the_students_learn_on_the_training_images(catalog, caplog):
    caplog.set_level("INFO")
    labelled = SAMPLES[SAMPLES["split"] != "unlabelled"]
    targets = nodes.make_soft_targets(
        catalog.load("segmenter_examples"), catalog.load("teachers"), labelled
    )
    assert sorted(targets) == list("abcd")
    assert "networks learn from the training images" in caplog.text


def test_a_run_that_is_killed_while_the_students_learn_trains_no_teacher_again(
    catalog, tmp_path, monkeypatch
):
    again, step = make_catalog(tmp_path), Trainee.step
    trained = []

    def dies_with_the_second_student(self):
        if self._parameters.iterations == 4 and self.iteration == 2:
            raise KeyboardInterrupt
        step(self)

    def counts(self):
        trained.append(self._parameters.iterations)
        step(self)

    monkeypatch.setattr(Trainee, "step", dies_with_the_second_student)
    with pytest.raises(KeyboardInterrupt):
        SequentialRunner().run(create_pipeline(), again)
    monkeypatch.setattr(Trainee, "step", counts)
    SequentialRunner().run(create_pipeline(), again)
    assert set(trained) == {4}
    whole, resumed = (c.load("segmenter_networks") for c in (catalog, again))
    for name in NETWORKS:
        np.testing.assert_array_equal(weights_of(resumed[name]), weights_of(whole[name]))


def train(catalog, supervised=SUPERVISED, samples=SAMPLES, seed=0):
    return nodes.train_teachers(
        catalog.load("segmenter_examples"),
        samples,
        catalog.load("starting_weights"),
        catalog.load("segmenter_checkpoints"),
        supervised,
        seed,
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_without_training_or_validation_images_it_stops_with_a_sentence(catalog, split):
    with pytest.raises(VesselrlError, match="split.fractions"):
        train(catalog, samples=SAMPLES[SAMPLES["split"] != split])


def test_training_may_start_from_a_network_that_was_trained_before(catalog, tmp_path):
    trained = catalog.load("segmenter_networks")["distilled"]
    starting = StartingWeightsDataset()
    assert starting.load() is None
    starting.path = Path(catalog["segmenter_weights"]._path) / "distilled.safetensors"
    assert starting.sources == [starting.path]
    again = make_catalog(tmp_path)
    again["segmenter_examples"] = catalog["segmenter_examples"]
    again["starting_weights"] = starting
    still = SUPERVISED.training.model_copy(update={"iterations": 1, "learning_rate": 1e-9})
    teachers, _ = train(again, SUPERVISED.model_copy(update={"training": still}))
    mine = teachers["networks"]["supervised"]["weights"]
    for name, tensor in trained["weights"].items():
        if name.endswith("weight"):
            np.testing.assert_allclose(mine[name], tensor, atol=1e-3)


def test_weights_of_a_network_of_another_size_stop_the_training_with_a_sentence(catalog, tmp_path):
    again = make_catalog(tmp_path)
    again["segmenter_examples"] = catalog["segmenter_examples"]
    weights = Path(catalog["segmenter_weights"]._path)
    again["starting_weights"].path = weights / "fold_0.safetensors"
    larger = SUPERVISED.training.model_copy(update={"features": [8] * 6})
    with pytest.raises(VesselrlError, match="supervised.pretrained.*asks for features"):
        train(again, SUPERVISED.model_copy(update={"training": larger}))


def test_weights_tell_the_groups_they_learned_from_and_no_names(catalog):
    folder = Path(str(catalog.get("segmenter_weights")._path))
    labelled = group_hashes(SAMPLES, list("abcd"))
    for name in NETWORKS:
        file = folder / f"{name}.safetensors"
        student = name in ("distilled", "pseudo_labelled")
        pool = group_hashes(SAMPLES, ["h"]) if student else []
        assert read_header(file).groups == sorted([*labelled, *pool])
        assert not any(group.encode() in file.read_bytes()[:4000] for group in ("g1", "g2", "g3"))


def start_with(groups, tmp_path):
    state = {
        **SegmentationNetwork(
            SUPERVISED.training.architecture.build(0), SUPERVISED.training.architecture, 64
        ).state(),
        "groups": groups,
    }
    examples = nodes.make_segmenter_examples(IMAGES, MASKS, SAMPLES, SUPERVISED)
    checkpoints = CheckpointsDataset(folder=str(tmp_path)).load()
    return nodes.train_teachers(examples, SAMPLES, state, checkpoints, SUPERVISED, 0)


def test_weights_that_learned_from_validation_or_test_patients_are_no_start(tmp_path):
    with pytest.raises(VesselrlError, match=r"learned from 2 of the groups.*other patients"):
        start_with(group_hashes(SAMPLES, ["a", "e", "g"]), tmp_path)


def test_what_the_start_learned_from_is_not_forgotten(tmp_path, caplog):
    elsewhere = ["0123456789abcdef"]
    teachers, _ = start_with(elsewhere, tmp_path)
    expected = sorted([*elsewhere, *group_hashes(SAMPLES, list("abcd"))])
    assert teachers["networks"]["fold_1"]["groups"] == expected
    assert "honest" not in caplog.text


def test_a_start_that_learned_from_training_patients_makes_no_honest_maps_and_that_is_said(
    tmp_path, caplog
):
    start_with(group_hashes(SAMPLES, ["a"]), tmp_path)
    training = len(group_hashes(SAMPLES, list("abcd")))
    assert f"learned from 1 of the {training} training groups" in caplog.text
