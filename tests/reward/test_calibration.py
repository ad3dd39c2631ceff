import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vesselrl.metrics.masks import overlap_scores
from vesselrl.reward.calibration import EDGES, Evidence, Line, PlattScaling
from vesselrl.reward.closed_form import expected_scores

numbers = arrays(np.float64, 12, elements=st.floats(0, 1))


@given(numbers, numbers)
def test_a_line_takes_the_bias_away_and_never_turns_the_order_round(raw, true):
    line = Line.fit([(raw, true)])
    assert line.slope >= 0
    assert (line.slope * raw + line.intercept).mean() == pytest.approx(true.mean(), abs=1e-6)
    assert ((line(raw) >= 0) & (line(raw) <= 1)).all()


@given(st.floats(0.1, 1), st.floats(0, 0.5))
def test_a_line_finds_the_one_there_is(slope, intercept):
    raw = np.linspace(0, 1, 20)
    line = Line.fit([(raw, slope * raw + intercept)])
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))


def test_a_network_that_ranks_backwards_is_calibrated_to_the_mean():
    raw = np.linspace(0, 1, 20)
    np.testing.assert_allclose(Line.fit([(raw, 1 - raw)])(raw), 0.5)


def test_an_image_that_is_misjudged_as_a_whole_does_not_turn_the_line():
    raw = np.linspace(0.5, 0.7, 20)
    no_vessels = (raw + 0.2, np.zeros(20))
    line = Line.fit([(raw, raw), (raw, raw + 0.05), no_vessels])
    assert line.slope == pytest.approx(2 / 3)
    pooled, true = np.concatenate([(raw, raw), (raw, raw + 0.05), no_vessels], axis=1)
    assert np.polyfit(pooled, true, 1)[0] < 0


def make_image(seed, slope, intercept):
    """A truth drawn from known log-odds, and a network whose log-odds are off by a line."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.5, 2, (60, 60))
    truth = rng.random(odds.shape) < 1 / (1 + np.exp(-odds))
    masks = np.stack([odds + rng.normal(0, 1, odds.shape) > cut for cut in np.linspace(-3, 3, 9)])
    wrong = ((odds - intercept) / slope).astype(np.float32)
    return masks, 1 / (1 + np.exp(-wrong))[None], truth


def differences(scores):
    """Of the masks of an image, how much better each is than the mean of them all."""
    value = (scores["dice"] + scores["recall"]) / 2
    return value - value.mean()


@pytest.mark.parametrize(("slope", "intercept"), [(0.6, -1.0), (1.6, 0.8)])
def test_scaling_makes_masks_differ_as_they_truly_do(slope, intercept):
    images = [make_image(seed, slope, intercept) for seed in range(6)]
    found = PlattScaling.fit(
        [Evidence.of(m, opinions, overlap_scores(m, truth)) for m, opinions, truth in images],
        ["dice", "recall"],
    )
    masks, opinions, truth = make_image(7, slope, intercept)
    odds = np.log(opinions / (1 - opinions))
    scaled = 1 / (1 + np.exp(-found.slope * odds - found.intercept))
    true = differences(overlap_scores(masks, truth))
    before, after = (
        np.abs(differences({k: s[:, 0] for k, s in expected_scores(masks, q).items()}) - true).max()
        for q in (opinions, scaled)
    )
    assert after < 0.02 < before


def test_counted_pixels_give_the_expected_scores_of_the_masks():
    masks, opinions, truth = make_image(0, 1.0, 0.0)
    evidence = Evidence.of(masks, opinions, overlap_scores(masks, truth))
    centres = np.concatenate([EDGES[:1] - 0.05, EDGES + 0.05])
    q = 1 / (1 + np.exp(-centres))
    both, size, total = evidence.counts[0] @ q, evidence.counts[0].sum(1), evidence.totals[0] @ q
    expected = expected_scores(masks, opinions)["dice"][:, 0]
    np.testing.assert_allclose(2 * both / (size + total), expected, atol=2e-3)


def test_masks_that_are_all_alike_leave_the_scaling_finite():
    masks = np.zeros((3, 8, 8), bool)
    opinions = np.full((2, 8, 8), 0.5, np.float32)
    found = PlattScaling.fit(
        [Evidence.of(masks, opinions, overlap_scores(masks, np.ones((8, 8), bool)))], ["dice"]
    )
    assert np.isfinite([found.slope, found.intercept]).all()
