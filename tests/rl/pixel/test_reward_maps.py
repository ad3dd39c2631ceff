from dataclasses import replace

import numpy as np
import pytest

from vesselrl.networks.architecture import Architecture
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.pixel.reward_maps import (
    Judges,
    labelled,
    q_of,
    reward_map,
    rewarded,
)

ARCHITECTURE = Architecture(2, (4,) * 6, 2)


@pytest.fixture(scope="module")
def judges(world):
    members = [ARCHITECTURE.build(seed) for seed in range(3)]
    network = RewardNetwork(members, ARCHITECTURE, 64, Scoring("lower_bound", kappa=1.0))
    folds = [replace(world.start, module=world.start.architecture.build(n).eval()) for n in (1, 2)]
    return Judges(network, world.start, folds)


def test_the_reward_network_is_asked_about_the_starts_map(world, judges):
    image = world.images[0]
    found = reward_map(judges.on_unseen(image, "network"), "network")
    opinions = judges.network.opinions(image, world.start.probability(image, flips=True))
    np.testing.assert_allclose(found.q, opinions.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.spread, opinions.std(0), atol=1e-6)


def test_of_both_each_counts_half_whatever_their_numbers(world, judges):
    opinions = judges.on_unseen(world.images[0], "both")
    assert [len(group) for group in opinions.values()] == [3, 2]
    network, ensemble, both = (
        reward_map(opinions, source) for source in ("network", "ensemble", "both")
    )
    np.testing.assert_allclose(both.q, (network.q + ensemble.q) / 2, atol=1e-6)
    apart = np.abs(network.q - ensemble.q) / 2  # that the two disagree is doubt as well
    assert (both.spread >= apart - 1e-6).all()


@pytest.mark.parametrize("source", ["network", "ensemble"])
def test_only_who_pays_is_asked(world, judges, source):
    assert list(judges.on_unseen(world.images[0], source)) == [source]


def test_of_a_training_image_the_honest_map_alone_is_believed(world, judges):
    honest = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    opinions = judges.on_left_out(world.images[0], honest)
    found = reward_map(opinions, "ensemble")
    np.testing.assert_allclose(found.q, honest)
    assert not found.spread.any()
    about_it = judges.network.opinions(world.images[0], honest)
    np.testing.assert_allclose(opinions["network"], about_it)


def test_what_the_learner_takes_keeps_image_and_reward(world, judges):
    image = world.images[0]
    found = reward_map(judges.on_unseen(image, "both"), "both")
    stack = rewarded(image, found)
    assert stack.dtype == np.uint8
    np.testing.assert_array_equal(stack[0], image)
    for channel, part in zip(stack[1:], found, strict=True):
        np.testing.assert_allclose(channel / 255, part, atol=0.5 / 255 + 1e-6)


def test_a_truth_is_a_reward_without_doubt(world):
    truth = world.truths[0].astype(np.uint8) * 255
    stack = labelled(world.images[0], truth)
    np.testing.assert_array_equal(stack[1], truth)
    assert not stack[2].any()


def test_the_reward_comes_back_at_the_size_of_the_image(world, judges):
    image = world.images[0]
    found = reward_map(judges.on_unseen(image, "both"), "both")
    stack = rewarded(image, found)
    np.testing.assert_allclose(q_of(stack, (64, 64)), found.q, atol=0.5 / 255 + 1e-6)
    larger = q_of(stack, (128, 96))
    assert larger.shape == (128, 96)
    assert larger.mean() == pytest.approx(found.q.mean(), abs=0.01)
