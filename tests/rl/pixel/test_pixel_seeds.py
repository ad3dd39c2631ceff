"""Seeds of RL on pixels in processes of their own."""

from functools import partial

import numpy as np
import pytest
import torch

from vesselrl.errors import VesselrlError
from vesselrl.networks.trainings import spread
from vesselrl.rl.pixel.guard import Guard
from vesselrl.rl.pixel.seeds import Seeds

pytestmark = pytest.mark.usefixtures("quick_workers")


def given(value):
    return value


@pytest.fixture
def train(world, pools, policy_parameters, strength, tmp_path):
    views = [
        partial(given, (image, np.stack([truth, truth]).astype(np.float32)))
        for image, truth in zip(world.images[6:8], world.truths[6:8], strict=True)
    ]
    unlabelled, labelled = ([partial(given, stack.numpy()) for stack in pool] for pool in pools)

    def run(name, devices):
        folders = {seed: tmp_path / name / seed for seed in ("7", "8")}
        changes = {"unlabelled": 3, "labelled": 1, "iterations": 4, "check_every": 2}
        seeds = Seeds(
            start=world.start.state(),
            unlabelled=unlabelled,
            labelled=labelled,
            guard=Guard(views, [], ["dice", "recall"]),
            parameters=policy_parameters.model_copy(update=changes),
            strength=strength,
            folders=folders,
            fingerprint="fingerprint",
        )
        spread(seeds, list(folders), devices, "RL on pixels", 4)
        return {name: seeds.learned(name) for name in folders}

    return run


def test_seeds_on_two_devices_are_those_of_one(train, tmp_path):
    one, two = train("one", ["cpu"]), train("two", ["cpu", "cpu"])
    for seed, trained in one.items():
        assert two[seed].history == trained.history
        torch.testing.assert_close(two[seed].weights, trained.weights, rtol=0, atol=0)
        assert list((tmp_path / "two" / seed).rglob("events*"))
    assert one["7"].history != one["8"].history


def test_devices_that_share_batches_learn_what_one_learns(train, tmp_path):
    one, two = train("one", ["cpu"])["7"], train("two", [["cpu", "cpu"]])["7"]
    assert [row["steps"] for row in two.history] == [0, 2, 4]
    for name in ("loss", "ep_rew_mean", "kl", "val_gold"):
        told = [[row[name] for row in run.history if name in row] for run in (one, two)]
        assert told[1] == pytest.approx(told[0], abs=5e-3)
    assert len(list((tmp_path / "two" / "7").rglob("events*"))) == 1


def test_a_batch_of_rl_that_cannot_be_shared_evenly_is_told_in_a_sentence(train):
    with pytest.raises(VesselrlError, match="A batch of 4 cannot be shared evenly by 3 devices"):
        train("three", [["cpu"] * 3])
