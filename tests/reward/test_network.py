import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from vesselrl.networks.architecture import Architecture
from vesselrl.networks.imaging import reduced, shrunk
from vesselrl.reward.calibration import Line, PlattScaling
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import SCORES, Scoring


def make(
    members=2, max_side=96, downscale=2, aggregation="lower_bound", kappa=0.5, scaling=None, **rest
):
    architecture = Architecture(2, (4,) * 6, downscale)
    judges = [architecture.build(seed) for seed in range(members)]
    return RewardNetwork(
        judges, architecture, max_side, Scoring(aggregation, kappa, **rest), scaling
    )


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (70, 90), dtype=np.uint8)
    return image, rng.random((70, 90), dtype=np.float32), rng.random((6, 70, 90)) > 0.6


@pytest.mark.parametrize("downscale", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1, 1), (20, 33), (64, 64), (130, 70, 3), (300, 40)])
def test_every_size_of_image_gets_an_opinion_of_its_own_size(shape, downscale):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    opinions = make(downscale=downscale).opinions(image, np.full(shape[:2], 0.5, np.float32))
    assert opinions.shape == (2, *shape[:2])
    assert opinions.dtype == np.float32
    assert 0 <= opinions.min() <= opinions.max() <= 1


def test_the_opinion_does_not_depend_on_the_brightness_of_the_image(case):
    image, candidate, _ = case
    dim = (image // 4) * 2
    network = make()
    bright = network.opinions(dim * 2, candidate)
    np.testing.assert_allclose(network.opinions(dim, candidate), bright, atol=1e-3)


def test_scores_are_the_mean_less_what_the_members_disagree_by(case):
    image, candidate, masks = case
    network = make(members=3)
    opinions = network.opinions(image, candidate)
    raw = network.scoring.raw_scores(masks, opinions)
    assert tuple(raw) == SCORES
    for key, each in expected_scores(masks, opinions).items():
        np.testing.assert_allclose(raw[key], each.mean(1) - 0.5 * each.std(1))
        assert raw[key].dtype == np.float64


def test_the_reward_may_be_what_the_strictest_member_says(case):
    image, candidate, masks = case
    network = make(members=3, aggregation="min")
    opinions = network.opinions(image, candidate)
    raw = network.scoring.raw_scores(masks, opinions)
    for key, each in expected_scores(masks, opinions).items():
        np.testing.assert_array_equal(raw[key], each.min(1))


def test_scaling_moves_the_log_odds_of_every_pixel(case):
    image, candidate, _ = case
    plain, scaled = (make(scaling=s).opinions(image, candidate) for s in (None, PlattScaling(2, 1)))
    odds = np.log(plain / (1 - plain))
    np.testing.assert_allclose(np.log(scaled / (1 - scaled)), 2 * odds + 1, atol=1e-3)


def test_the_networks_own_map_is_its_members_mean_and_not_scaled(case):
    image, candidate, _ = case
    own = make(scaling=PlattScaling(2, 1)).own_map(image, candidate)
    np.testing.assert_array_equal(own, make().opinions(image, candidate).mean(0))


def test_what_the_members_make_of_an_image_alone_has_one_length_for_every_size():
    rng = np.random.default_rng(0)
    network = make(members=3)
    seen = [
        network.image_features(rng.integers(0, 255, shape, dtype=np.uint8))
        for shape in ((70, 90), (33, 20), (300, 40, 3))
    ]
    assert all(features.shape == (3 * 4,) and features.dtype == np.float32 for features in seen)
    assert all(np.isfinite(features).all() for features in seen)
    assert not np.allclose(seen[0], seen[1])


def test_features_of_an_image_are_averages_of_the_encoders_last_map(case):
    image, *_ = case
    network = make(members=2)
    maps = []
    for member in network.members:
        member[1].down_4.register_forward_hook(lambda *parts: maps.append(parts[2]))
    network.opinions(image, np.full(image.shape, 127.5 / 256, np.float32))
    expected = torch.cat([last.mean((2, 3))[0] for last in maps])
    np.testing.assert_allclose(network.image_features(image), expected, rtol=1e-5)


def test_each_score_has_its_own_line(case):
    image, candidate, masks = case
    lines = {"dice": (0.5, 0.1), "recall": (0.8, 0.0), "precision": (0.0, 0.4)}
    network = make(lines={key: Line(*line) for key, line in lines.items()})
    opinions = network.opinions(image, candidate)
    raw, scores = (
        network.scoring.raw_scores(masks, opinions),
        network.scoring.scores(masks, opinions),
    )
    for key, (slope, intercept) in lines.items():
        np.testing.assert_allclose(scores[key], slope * raw[key] + intercept)


def test_a_saved_network_gives_the_same_answers(case, tmp_path):
    image, candidate, masks = case
    network = make(scaling=PlattScaling(0.8, -0.5), lines={key: Line(0.7, 0.1) for key in SCORES})
    torch.save(network.state(), tmp_path / "network.pth")
    again = RewardNetwork.from_state(torch.load(tmp_path / "network.pth", weights_only=True))
    before = network.scoring.scores(masks, network.opinions(image, candidate))
    after = again.scoring.scores(masks, again.opinions(image, candidate))
    assert again.state()["scaling"] == network.state()["scaling"]
    members = [one.state()["members"] for one in (again, network)]
    torch.testing.assert_close(*members, rtol=0, atol=0)
    for key in SCORES:  # folded, it rounds otherwise
        np.testing.assert_allclose(after[key], before[key], rtol=1e-6)


def test_reduction_averages_and_leaves_small_maps_alone():
    maps = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    assert reduced(maps, 4) is maps
    np.testing.assert_allclose(reduced(maps, 2), maps.reshape(2, 2, 2, 2, 2).mean((2, 4)))
    assert reduced(np.zeros((10, 1000), np.float32), 50).shape == (1, 50)


@pytest.mark.parametrize(("device", "on"), [("cpu", "cpu"), ("mps", "cpu"), ("cuda", "cuda")])
def test_images_for_an_apple_gpu_are_reduced_on_the_cpu(device, on, monkeypatch):
    seen = []
    averaged = functional.interpolate

    def noted(batch, *rest, **how):
        seen.append(batch.device.type)
        return averaged(batch, *rest, **how)

    monkeypatch.setattr(functional, "interpolate", noted)
    with FakeTensorMode():
        small = shrunk(torch.empty(1, 1, 10, 15, device=device), 7)
    assert (small.shape, small.device.type) == ((1, 1, 5, 7), device)
    assert seen == [on]
