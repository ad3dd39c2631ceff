"""What can be had from trained networks without reinforcement learning."""

import numpy as np
import pytest

from vesselrl.networks.architecture import Architecture
from vesselrl.segmenters.levels import from_levels
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import RIVALS
from vesselrl.segmenters.unet.rivals import rival_facts, rival_map

ARCHITECTURE = Architecture(1, (4,) * 6, 2)
NAMES = ("supervised", "fold_0", "fold_1", "fold_2", "distilled", "pseudo_labelled")
NETWORKS = {
    name: SegmentationNetwork(ARCHITECTURE.build(seed).eval(), ARCHITECTURE, 64)
    for seed, name in enumerate(NAMES)
}
IMAGE = np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8)
WEIGHTS = sum(w.numel() for w in NETWORKS["supervised"].module.parameters())


@pytest.mark.parametrize(
    ("rival", "asked", "flips"),
    [
        ("supervised", ["supervised"], False),
        ("supervised_tta", ["supervised"], True),
        ("fold_ensemble", ["fold_0", "fold_1", "fold_2"], False),
        ("fold_ensemble_tta", ["fold_0", "fold_1", "fold_2"], True),
        ("distilled", ["distilled"], False),
        ("pseudo_labelled", ["pseudo_labelled"], False),
    ],
)
def test_a_rivals_map_is_the_mean_of_what_its_networks_see(rival, asked, flips):
    stored = rival_map(rival, NETWORKS, IMAGE)
    expected = np.mean([NETWORKS[n].probability(IMAGE, flips=flips) for n in asked], axis=0)
    assert stored["levels"].shape == IMAGE.shape
    np.testing.assert_allclose(from_levels(stored["levels"]), expected, atol=1 / 500)
    assert stored["seconds"] > 0
    assert asked == [file.removesuffix(".safetensors") for file in facts(rival)["files"]]


def facts(rival):
    seconds = {name: 10.0 * (number + 1) for number, name in enumerate(NAMES)}
    return rival_facts(rival, NETWORKS, seconds)


def test_every_rival_has_its_price():
    prices = {rival: facts(rival) for rival in RIVALS}
    assert {rival: price["passes"] for rival, price in prices.items()} == {
        "supervised": 1, "supervised_tta": 4, "fold_ensemble": 3, "fold_ensemble_tta": 12,
        "distilled": 1, "pseudo_labelled": 1,
    }  # fmt: skip
    assert prices["fold_ensemble"]["parameters"] == 3 * WEIGHTS
    assert prices["distilled"]["parameters"] == WEIGHTS


def test_a_student_is_trained_after_its_teachers_and_folds_side_by_side():
    assert facts("supervised")["training_seconds"] == 10
    assert facts("fold_ensemble_tta")["training_seconds"] == 40
    assert facts("distilled")["training_seconds"] == 40 + 50
