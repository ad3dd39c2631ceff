import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.network import SCORES, Calibration, RewardNetwork, build_member, reduced

FEATURES = [4, 4, 4, 4, 4, 4]
numbers = arrays(np.float64, 12, elements=st.floats(0, 1))


def make(members=2, max_side=96, kappa=0.5, **rest):
    torch.manual_seed(0)
    judges = [build_member(FEATURES) for _ in range(members)]
    return RewardNetwork(judges, FEATURES, max_side, kappa, **rest)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (70, 90), dtype=np.uint8)
    return image, rng.random((70, 90), dtype=np.float32), rng.random((6, 70, 90)) > 0.6


@pytest.mark.parametrize("shape", [(1, 1), (20, 33), (64, 64), (130, 70, 3), (300, 40)])
def test_every_size_of_image_gets_an_opinion_of_its_own_size(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    opinions = make().opinions(image, np.full(shape[:2], 0.5, np.float32))
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
    raw = network.raw_scores(masks, opinions)
    assert tuple(raw) == SCORES
    for key, each in expected_scores(masks, opinions).items():
        np.testing.assert_allclose(raw[key], each.mean(1) - 0.5 * each.std(1))
        assert raw[key].dtype == np.float64


def test_each_score_has_its_own_calibration(case):
    image, candidate, masks = case
    lines = {"dice": (0.5, 0.1), "recall": (0.8, 0.0), "precision": (0.0, 0.4)}
    network = make(calibrations={key: Calibration(*line) for key, line in lines.items()})
    opinions = network.opinions(image, candidate)
    raw, scores = network.raw_scores(masks, opinions), network.scores(masks, opinions)
    for key, (slope, intercept) in lines.items():
        np.testing.assert_allclose(scores[key], slope * raw[key] + intercept)


def test_a_saved_network_gives_the_same_answers(case, tmp_path):
    image, candidate, masks = case
    network = make(calibrations={key: Calibration(0.7, 0.1) for key in SCORES})
    torch.save(network.state(), tmp_path / "network.pth")
    again = RewardNetwork.from_state(torch.load(tmp_path / "network.pth", weights_only=True))
    before = network.scores(masks, network.opinions(image, candidate))
    after = again.scores(masks, again.opinions(image, candidate))
    for key in SCORES:
        np.testing.assert_array_equal(before[key], after[key])


@given(numbers, numbers)
def test_calibration_takes_the_bias_away_and_never_turns_the_order_round(raw, true):
    line = Calibration.fit(raw, true)
    assert line.slope >= 0
    assert (line.slope * raw + line.intercept).mean() == pytest.approx(true.mean(), abs=1e-6)
    assert ((line(raw) >= 0) & (line(raw) <= 1)).all()


@given(st.floats(0.1, 1), st.floats(0, 0.5))
def test_calibration_finds_the_line_there_is(slope, intercept):
    raw = np.linspace(0, 1, 20)
    line = Calibration.fit(raw, slope * raw + intercept)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))


def test_a_network_that_ranks_backwards_is_calibrated_to_the_mean():
    raw = np.linspace(0, 1, 20)
    np.testing.assert_allclose(Calibration.fit(raw, 1 - raw)(raw), 0.5)


def test_reduction_averages_and_leaves_small_maps_alone():
    maps = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    assert reduced(maps, 4) is maps
    np.testing.assert_allclose(reduced(maps, 2), maps.reshape(2, 2, 2, 2, 2).mean((2, 4)))
    assert reduced(np.zeros((10, 1000), np.float32), 50).shape == (1, 50)
