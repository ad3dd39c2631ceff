import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from vesselrl.metrics.masks import overlap_scores
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.rivals import certainty, connectivity, rival_scores
from vesselrl.segmenters.levels import from_levels

SHAPE = (9, 12)
RIVALS = ["confidence", "entropy", "agreement", "connectivity"]


@pytest.fixture
def case(drawn):
    """Five masks of each of the four prompts' maps of an image."""
    maps = from_levels(drawn["i0"][2])
    masks = np.stack([maps > threshold for threshold in (0.1, 0.3, 0.5, 0.7, 0.9)], axis=1)
    return maps, masks


@given(
    arrays(np.bool_, st.tuples(st.integers(0, 3), *map(st.just, SHAPE))),
    arrays(np.float32, (3, *SHAPE), elements=st.floats(0, 1, width=32)),
)
def test_every_mask_has_every_score_empty_and_full_masks_too(masks, maps):
    masks = np.concatenate([masks, np.zeros((1, *SHAPE), bool), np.ones((1, *SHAPE), bool)])
    scores = rival_scores(masks, maps[1], maps)
    assert list(scores) == RIVALS
    for score in scores.values():
        assert score.shape == (len(masks),)
        assert score.dtype == np.float64
        assert np.isfinite(score).all()


def test_confidence_is_the_expected_dice_if_the_mean_of_all_maps_is_right(case):
    maps, masks = case
    scores = rival_scores(masks[2], maps[2], maps)
    expected = expected_scores(masks[2], maps.mean(0, keepdims=True))["dice"][:, 0]
    np.testing.assert_allclose(scores["confidence"], expected, rtol=1e-6)


def test_agreement_is_the_mean_dice_with_the_masks_of_the_other_prompts(case):
    maps, masks = case
    for own in range(4):
        others = [overlap_scores(masks[own], maps[p] > 0.5)["dice"] for p in range(4) if p != own]
        scores = rival_scores(masks[own], maps[own], maps)
        np.testing.assert_allclose(scores["agreement"], np.mean(others, axis=0), atol=1e-6)


def test_a_prompt_with_the_same_map_agrees_fully(case):
    maps, masks = case
    scores = rival_scores(masks[0], maps[0], maps[[0, 0]])
    assert scores["agreement"][2] == pytest.approx(1)


def test_a_single_prompt_agrees_with_nobody(case):
    maps, masks = case
    assert (rival_scores(masks[0], maps[0], maps[:1])["agreement"] == 0).all()


def test_certainty_is_one_less_the_mean_entropy_in_the_mask():
    probability = np.array([[0.5, 1.0, 0.11, 0.0]], np.float32)
    masks = np.array([[[1, 0, 0, 0]], [[0, 1, 0, 1]], [[1, 1, 0, 0]], [[0, 0, 1, 0]]], bool)
    # A coin that falls on one side 11 times of 100 has an entropy of half a bit.
    assert certainty(masks, probability) == pytest.approx([0, 1, 0.5, 0.5], abs=1e-3)
    assert certainty(np.zeros((1, 1, 4), bool), probability) == [0]


def draw(*boxes):
    """A mask of filled boxes (top, left, bottom, right), bool (80, 80)."""
    mask = np.zeros((80, 80), bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


LINE = draw((40, 5, 44, 75))


@pytest.mark.parametrize(
    "worse",
    [
        pytest.param(LINE & (np.arange(80) % 14 > 3), id="interrupted"),
        pytest.param(ndimage.binary_dilation(LINE, iterations=3), id="too thick"),
        pytest.param(LINE | draw((5, 5, 13, 13), (60, 60, 68, 68)), id="with blobs beside it"),
        pytest.param(draw((30, 30, 47, 47)), id="a blob"),
        pytest.param(np.indices((80, 80)).sum(0) % 5 == 0, id="specks"),
        pytest.param(draw(), id="empty"),
        pytest.param(~draw(), id="full"),
    ],
)
def test_a_long_thin_unbroken_vessel_is_the_best_connected(worse):
    assert connectivity(LINE) > connectivity(worse)
