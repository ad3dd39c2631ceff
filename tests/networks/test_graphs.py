import gc
import pickle
import weakref
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pytest
import torch

from vesselrl.networks import graphs
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.graphs import Replayed
from vesselrl.reward import network as reward
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.segmenters.unet import network as unet
from vesselrl.segmenters.unet.network import SegmentationNetwork

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
on_gpu = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a CUDA GPU")
SIZES = [(48, 64), (64, 64), (80, 48)]


def segmentation_network():
    architecture = Architecture(1, (4, 4, 8, 8, 8, 4), 1, "instance")
    network = SegmentationNetwork(architecture.build(1), architecture, 64)
    again = SegmentationNetwork.from_state(network.state())
    return again, lambda network, image: np.append(
        network.probability(image, 1.3), network.logits(image, flips=True).cpu()
    )


def reward_network():
    architecture = Architecture(2, (4, 4, 8, 8, 8, 4), 1)
    members = [architecture.build(seed) for seed in range(3)]
    network = RewardNetwork(members, architecture, 64, Scoring("min", 0))
    again = RewardNetwork.from_state(network.state())
    return again, lambda network, image: np.append(
        network.opinions(image, np.float32(image / 255)), network.image_features(image)
    )


def images(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, SIZES[n % 3], dtype=np.uint8) for n in range(count)]


@pytest.fixture
def module():
    return Architecture(1, (4, 4, 8, 8, 8, 4), 1, "instance").build(0).to(DEVICE).eval()


@pytest.mark.parametrize("make", [segmentation_network, reward_network])
def test_networks_answer_alike_however_often_they_are_asked(make, monkeypatch):
    monkeypatch.setattr(graphs, "_OFTEN", 2)
    network, ask = make()
    asked = images(12)
    first = [ask(make()[0], image) for image in asked]  # of a network that was never asked before
    for once, again in zip(first, [ask(network, image) for image in asked], strict=True):
        np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("copied", [deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
@pytest.mark.parametrize("make", [segmentation_network, reward_network])
def test_a_copy_of_a_network_answers_by_its_own_weights(make, copied, monkeypatch):
    for module in (unet, reward):  # else they are copies in any case
        monkeypatch.setattr(module, "folded", lambda network: network)
    network, ask = make()
    (image,) = images(1)
    before = ask(network, image)
    other = copied(network)
    np.testing.assert_array_equal(ask(other, image), before)
    with torch.no_grad():
        for module in [network.module] if make is segmentation_network else network.members:
            for weights in module.parameters():
                weights.zero_()
    assert not np.array_equal(ask(network, image), before)
    np.testing.assert_array_equal(ask(other, image), before)


def test_a_segmentation_network_ends_with_its_last_use():
    network, ask = segmentation_network()
    ask(network, *images(1))
    there = weakref.ref(network)
    gc.disable()
    try:
        del network
        assert there() is None
    finally:
        gc.enable()


class SeenOnGpu:
    """As far as it matters here, a tensor on a GPU."""

    device, shape = torch.device("cuda"), torch.Size((1, 1, 48, 64))


def test_no_graph_is_made_while_the_second_answer_about_an_image_is_timed(monkeypatch):
    asked, made = [], []

    class Graph:
        def __init__(self, function, given, pool):
            made.append(asked[-1])
            self.pool = pool

        def __call__(self, given):
            return given

    monkeypatch.setattr(graphs, "_Graph", Graph)
    replayed = Replayed(lambda given: given)
    for image in range(100):
        for why in ("loaded", "timed"):
            asked.append((image, why))
            replayed(SeenOnGpu())
    assert [why for _, why in made] == ["loaded"]


def test_each_way_of_asking_about_a_size_has_a_graph_of_its_own(monkeypatch):
    monkeypatch.setattr(graphs, "_OFTEN", 2)

    class Graph:
        pool = 0

        def __init__(self, function, given, pool):
            self.answer = ("graph", *function(given)[1:])

        def __call__(self, given):
            return self.answer

    monkeypatch.setattr(graphs, "_Graph", Graph)
    replayed = Replayed(lambda given, *how: ("function", *how))
    answers = [replayed(SeenOnGpu(), *how) for _ in range(3) for how in [(1, True), (2, True)]]
    assert [who for who, *_ in answers] == ["function"] * 2 + ["graph"] * 4
    assert [tuple(how) for _, *how in answers] == [(1, True), (2, True)] * 3


@on_gpu
@torch.inference_mode()
def test_a_graph_answers_as_the_function_bit_for_bit_whatever_was_asked_between(
    module, monkeypatch
):
    monkeypatch.setattr(graphs, "_OFTEN", 2)
    replayed = Replayed(module)
    asked = [torch.rand(1, 1, *SIZES[n % 3], device=DEVICE) for n in range(12)]
    answers = [replayed(one) for one in asked]
    for one, answer in zip(asked, answers, strict=True):  # none was written over by a later one
        assert torch.equal(answer, module(one))


class Given(NamedTuple):
    """A tensor on a GPU, as far as it is looked at."""

    shape: tuple[int, ...]
    device: torch.device = torch.device("cuda")


@pytest.fixture
def asked(monkeypatch):
    """Asks about sizes in turn; tells who answered: the function, a graph, or nobody."""
    monkeypatch.setattr(graphs, "_OFTEN", 3)
    monkeypatch.setattr(graphs, "_MOST", 2)

    def ask(sizes, memory=True):
        class Graph:
            def __init__(self, function, given, pool):
                if not memory:
                    raise torch.OutOfMemoryError("nothing left")
                self.pool, self.size = 0, given.shape

            def __call__(self, given):
                assert given.shape == self.size
                return "graph"

        def answer(size):
            try:
                return replayed(Given((size,)))
            except torch.OutOfMemoryError:
                return "nobody"

        monkeypatch.setattr(graphs, "_Graph", Graph)
        replayed = Replayed(lambda given: "function")
        return [answer(size)[0] for size in sizes]

    return ask


def test_only_sizes_that_come_often_get_a_graph(asked):
    assert asked([1, 1, 2, 1, 1, 2]) == list("fffggf")


def test_no_more_sizes_than_there_is_memory_for_get_a_graph(asked):
    assert asked([1, 2, 3] * 4) == list("ffffffggfggf")


def test_a_graph_that_there_is_no_memory_for_fails_one_question(asked):
    assert asked([1] * 6, memory=False) == list("ffnfff")
