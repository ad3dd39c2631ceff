import numpy as np
import pytest
import torch
from small_methods import policy, reward_network, segmentation_network

from vesselrl.bundle import exchange
from vesselrl.errors import VesselrlError
from vesselrl.networks.imaging import grey

CLOSE = 1e-4
SHAPES = [(1, 48, 48), (2, 33, 47)]  # no image is reduced


@pytest.fixture(scope="module")
def run():
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")

    def answer(graph, **inputs):
        session = runtime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, inputs)
        return found

    return answer


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("downscale", [1, 2])
def test_a_segmentation_network_answers_the_same_at_any_size(run, norm, downscale):
    network = segmentation_network(norm=norm, downscale=downscale)
    graph = exchange.segmentation_graph(network)
    for shape in SHAPES:
        images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        found = run(graph, image=images / np.float32(255))
        expected = [network.logits(image)[0].sigmoid().numpy() for image in images]
        np.testing.assert_allclose(found, expected, atol=CLOSE)
        assert np.ptp(found) > 0.1  # else equal answers would say little


def test_members_of_a_reward_network_have_the_same_opinions(run):
    network = reward_network()
    graphs = exchange.member_graphs(network)
    random = np.random.default_rng(1)
    for side in (40, 33):
        image = random.integers(0, 256, (side, 45)).astype(np.uint8)
        candidate = random.random((side, 45), dtype=np.float32)
        expected = network.opinions(image, candidate)
        for graph, opinion in zip(graphs, expected, strict=True):
            found = run(graph, image=grey(image)[None], candidate=candidate[None])
            np.testing.assert_allclose(found[0], opinion, atol=CLOSE)


@pytest.mark.parametrize(("chooses", "length"), [("setting", 1), ("operations", 3)])
def test_a_policy_scores_the_same_and_so_chooses_the_same(run, chooses, length):
    own = policy(chooses, length)
    graph = exchange.policy_graph(own)
    seen = np.random.default_rng(2).normal(size=(5, own.observer.size)).astype(np.float32)
    scores = run(graph, observation=seen)
    ends = np.cumsum(own.rules.choices)[:-1]
    for observation, given in zip(seen, scores, strict=True):
        assert own.choose(observation) == tuple(p.argmax() for p in np.split(given, ends))


def test_every_network_of_a_recipe_is_written(run, make_recipe):
    before = torch.random.get_rng_state()
    assert set(exchange.graphs(make_recipe("reward_rl"))) == {
        "segmenter", "reward_network_0", "reward_network_1", "policy",
    }  # fmt: skip
    assert set(exchange.graphs(make_recipe("refine"))) == {
        "segmenter", "reward_network_0", "reward_network_1", "network_fold_0", "network_fold_1",
        "refiner_0", "refiner_1",
    }  # fmt: skip
    assert torch.equal(before, torch.random.get_rng_state())  # others' random numbers stay


def test_without_the_package_what_to_install_is_said(make_recipe, monkeypatch):
    monkeypatch.setattr(exchange, "find_spec", lambda _: None)
    with pytest.raises(VesselrlError, match=r"pip install .vesselrl\[onnx\]"):
        exchange.graphs(make_recipe("static"))
