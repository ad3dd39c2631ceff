"""Training on several devices, here processes on the CPU that talk over gloo."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vesselrl.checkpoints import Checkpoints
from vesselrl.devices import best_device
from vesselrl.errors import VesselrlError
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.augmentation import Augmentation, random_places, relit
from vesselrl.networks.data_parallel import Share, synchronised
from vesselrl.networks.trainings import SideBySide, spread
from vesselrl.rl.pixel.parameters import PolicyParameters
from vesselrl.rl.pixel.ppo import PixelLearner
from vesselrl.segmenters.unet.fitting import SegmenterLearner
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import UnetTrainingParameters
from vesselrl.workers import map_on_devices

pytestmark = pytest.mark.usefixtures("quick_workers")
TWO = [["cpu", "cpu"]]
STRENGTH = Augmentation(shadows=0.3, inverted=0.2)


def pool(seed, channels):
    """Three images that are not all of one size."""
    rng = np.random.default_rng(seed)
    sizes = [(64, 64), (72, 64), (64, 80)]
    return [torch.from_numpy(rng.integers(0, 256, (channels, *s), dtype=np.uint8)) for s in sizes]


def exactly(learner):
    """Let a learner compute with 64 bits.

    Adam's first steps make much of gradients that are nearly nothing, and with it of the order in
    which 32 bits are summed.
    """
    learner.module.double()
    learner.average.double()
    compute = learner._loss
    learner._loss = lambda image, target: compute(image.double(), target.double())


class Segmenting:
    """A training of the segmenter's network on noise, checked at every second step."""

    def __init__(self, norm, batch, name):
        parameters = UnetTrainingParameters(
            features=[4, 4, 8, 8, 8, 4], downscale=1, norm=norm, patch=64, batch=batch,
            iterations=6, learning_rate=0.002, ema_decay=0.8,
        )  # fmt: skip
        size = parameters.features, parameters.downscale
        self.learner = SegmenterLearner(
            Architecture(1, *size, norm), parameters, STRENGTH, int(name), best_device()
        )
        self.pools = [pool(1, 2), pool(2, 2)]
        exactly(self.learner)

    iteration = property(lambda self: self.learner.iteration)
    finished = property(lambda self: self.learner.finished)
    due = property(lambda self: self.iteration % 2 == 0)

    def step(self):
        self.learner.step(self.pools)

    def check(self):
        pass

    def state(self):
        return self.learner.state()

    def load_state(self, state):
        self.learner.load_state(state)


class Rewarded(Segmenting):
    """The same of RL on pixels; a batch is 3 squares of one pool and 1 of another."""

    def __init__(self, name):
        parameters = PolicyParameters(
            patch=64, unlabelled=3, labelled=1, samples=2, inner_steps=2, iterations=6,
            learning_rate=1e-3, ema_decay=0.8, clip=0.2, kl=0.1, kappa=1, check_every=2, patience=9,
        )  # fmt: skip
        architecture = Architecture(1, (4, 4, 8, 8, 8, 4), 1)
        start = SegmentationNetwork(architecture.build(3).eval(), architecture, 64)
        self.learner = PixelLearner(start, parameters, STRENGTH, ["dice", "recall"], int(name))
        self.pools = [pool(1, 3), pool(2, 3)]
        self.rewards = []

    finished = property(lambda self: self.iteration == 6)

    def step(self):
        self.rewards.append(float(self.learner.step(*self.pools).reward))

    def state(self):
        return super().state() | {"rewards": self.rewards}


class DiesOnce(Segmenting):
    """Its second process is killed before the fifth step, once, when the first has saved four."""

    def __init__(self, mark, checkpoints, *settings):
        super().__init__(*settings)
        self.mark = mark
        self.checkpoints = checkpoints

    def step(self):
        if self.iteration == 4 and Share.own().rank == 1 and not self.mark.exists():
            self.mark.touch()
            deadline = time.monotonic() + 60
            while self.saved() < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        super().step()

    def saved(self):
        return self.checkpoints.load("0", "fingerprint")["iteration"]


def trained(make, folder, devices, names=("0",)):
    checkpoints = Checkpoints(folder)
    spread(SideBySide(make, checkpoints, "fingerprint"), list(names), devices, "Training", 6)
    return {name: checkpoints.load(name, "fingerprint") for name in names}


def assert_alike(state, other, part="module", rtol=1e-5, atol=1e-6):
    """Of learners: their iteration and next random numbers; weights but for the last digits."""
    assert state["iteration"] == other["iteration"] == 6
    assert state["rng"] == other["rng"]
    torch.testing.assert_close(state["noise"], other["noise"])
    for name in (part, "average"):
        torch.testing.assert_close(state[name], other[name], rtol=rtol, atol=atol)


def assert_equal(state, other):
    """Bit for bit."""
    assert state["iteration"] == other["iteration"] == 6
    torch.testing.assert_close(state["average"], other["average"], rtol=0, atol=0)
    torch.testing.assert_close(state["optimiser"], other["optimiser"], rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_two_devices_train_the_network_that_one_trains(tmp_path, norm):
    make = partial(Segmenting, norm, 4)
    one, two = (trained(make, tmp_path / str(n), d)["0"] for n, d in enumerate([None, TWO]))
    assert_alike(one, two)


def test_two_devices_learn_by_reward_what_one_learns(tmp_path):
    one, two = (trained(Rewarded, tmp_path / str(n), d)["0"] for n, d in enumerate([None, TWO]))
    assert_alike(one, two, "policy", rtol=1e-3, atol=2e-4)
    assert two["rewards"] == pytest.approx(one["rewards"], abs=1e-4)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_ends_the_run_with_one_error_and_the_next_run_goes_on(tmp_path):
    whole = trained(partial(Segmenting, "batch", 4), tmp_path / "whole", TWO)["0"]
    checkpoints = Checkpoints(tmp_path / "states")
    make = partial(DiesOnce, tmp_path / "mark", checkpoints, "batch", 4)
    with pytest.raises(VesselrlError, match="killed.*'0'.*Run the command again"):
        trained(make, tmp_path / "states", TWO)
    assert checkpoints.load("0", "fingerprint")["iteration"] == 4
    resumed = trained(make, tmp_path / "states", TWO)["0"]
    assert_equal(resumed, whole)


def test_trainings_spread_over_devices_end_in_the_weights_of_one_device(tmp_path):
    make, names = partial(Segmenting, "batch", 4), ("0", "1", "2")
    one = trained(make, tmp_path / "1", ["cpu"], names)
    two = trained(make, tmp_path / "2", ["cpu", "cpu"], names)
    for name in names:
        assert_equal(one[name], two[name])


def test_a_batch_that_cannot_be_shared_evenly_is_told_in_a_sentence(tmp_path):
    with pytest.raises(VesselrlError, match="A batch of 3 cannot be shared evenly by 2 devices"):
        trained(partial(Segmenting, "batch", 3), tmp_path, TWO)


@pytest.mark.parametrize("batch", [4, 6])
def test_shares_of_a_batch_are_its_rows_squares_and_light_included(batch):
    sizes, image = np.full((batch, 2), 64), torch.rand(batch, 32, 32)

    def drawn(share):
        rng, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
        mine = share.of(sizes)
        places = random_places(mine, 32, STRENGTH, rng, torch.device("cpu"), share)
        return places, relit(share.of(image), STRENGTH, rng, noise, share), rng.random()

    *whole, after = drawn(Share())
    shares = [drawn(Share(rank, 2)) for rank in range(2)]
    for number, expected in enumerate(whole):
        torch.testing.assert_close(torch.cat([share[number] for share in shares]), expected)
    assert {share[-1] for share in shares} == {after}


def normalise(item):
    """Output, gradients and running statistics of a batch normalisation, of the share's rows."""
    share = Share.own()
    rows = share.of(torch.from_numpy(np.random.default_rng(0).normal(3, 2, (4, 3, 5, 5)))).float()
    rows.requires_grad_()
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.1))
    layer = synchronised(network, share, torch.device("cpu"))
    out = layer(rows)
    out.square().mul(torch.arange(5.0)).mean().backward()
    gradients = [weights.grad for weights in layer.parameters()]
    share.average(gradients)
    kept = [layer.state_dict()[f"0.running_{name}"] for name in ("mean", "var")]
    found = [share.whole(out), share.whole(rows.grad) / share.ranks, *gradients, *kept]
    return [tensor.detach().numpy() for tensor in found]


def test_statistics_of_a_shared_batch_are_those_of_the_whole_batch():
    one = normalise(None)
    (two,) = map_on_devices(normalise, [("batch", None)], TWO)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def agreed(item):
    share = Share.own()
    return share.mean(share.rank + 1.0), share.rank


def test_the_first_of_a_team_answers_and_teams_work_side_by_side():
    items = [(str(number), number) for number in range(3)]
    done = list(map_on_devices(agreed, items, [["cpu", "cpu", "cpu"], ["cpu", "cpu"], "cpu"]))
    assert {rank for _, rank in done} == {0}
    assert {mean for mean, _ in done} <= {1.0, 1.5, 2.0}  # of one, two and three processes


def test_one_process_alone_shares_with_nobody():
    share, number = Share.own(), torch.rand(4)
    assert share == Share(0, 1)
    torch.testing.assert_close(share.whole(share.of(number)), number)
    assert share.mean(2.5) == 2.5


def test_networks_keep_the_names_of_their_weights(tmp_path: Path):
    architecture = Architecture(1, (4,) * 6, 1)
    alone, together = architecture.build(0), architecture.build(0)
    together = synchronised(together, Share(0, 2), torch.device("cpu"))
    assert list(together.state_dict()) == list(alone.state_dict())
