import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from vesselrl.metrics.masks import cldice, hd95, mask_metrics, overlap_scores

OVERLAPS = ("dice", "iou", "recall", "precision", "cldice")
masks = arrays(np.bool_, (9, 11))


def blobs(random: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(random.normal(size=(41, 37)), 2) > 0.1


def test_scores_equal_values_counted_by_hand():
    prediction, truth = np.zeros((2, 8, 8), bool)
    prediction[0, 0:4] = True
    truth[0, 2:8] = True
    scores = mask_metrics(prediction, truth)
    assert scores["dice"] == pytest.approx(2 * 2 / (4 + 6))
    assert scores["iou"] == pytest.approx(2 / 8)
    assert scores["recall"] == pytest.approx(2 / 6)
    assert scores["precision"] == pytest.approx(2 / 4)


def test_two_empty_masks_agree_perfectly():
    empty = np.zeros((6, 8), bool)
    scores = mask_metrics(empty, empty)
    assert scores == {**dict.fromkeys(OVERLAPS, 1.0), "hd95": 0.0}


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_mask_scores_zero_and_lies_a_diagonal_away(swap):
    empty, full = np.zeros((6, 8), bool), np.ones((6, 8), bool)
    pair = (full, empty) if swap else (empty, full)
    assert mask_metrics(*pair) == {**dict.fromkeys(OVERLAPS, 0.0), "hd95": 10.0}


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="same image"):
        mask_metrics(np.zeros((3, 4), bool), np.zeros((4, 3), bool))


def test_hd95_equals_monai():
    random = np.random.default_rng(0)
    for _ in range(20):
        prediction, truth = blobs(random), blobs(random)
        theirs = compute_hausdorff_distance(
            torch.tensor(prediction)[None, None], torch.tensor(truth)[None, None], percentile=95
        )
        assert hd95(prediction, truth) == pytest.approx(float(theirs), abs=1e-4)


def test_hd95_of_a_shifted_line_is_the_shift():
    truth = np.zeros((40, 40), bool)
    truth[10, 5:35] = True
    assert hd95(np.roll(truth, 3, axis=0), truth) == 3


def test_cldice_forgives_width_but_not_a_missing_branch():
    truth = np.zeros((40, 60), bool)
    truth[18:23, 5:55] = True
    thin = np.zeros_like(truth)
    thin[20, 5:55] = True
    half = truth.copy()
    half[:, 30:] = False
    # the centreline of a bar ends in forks, which a thin line misses
    assert cldice(thin, truth) > 0.95
    assert mask_metrics(thin, truth)["dice"] < 0.5
    assert cldice(half, truth) == pytest.approx(2 / 3, abs=0.05)


@given(masks, masks)
def test_overlaps_lie_in_the_unit_interval_and_dice_follows_from_iou(prediction, truth):
    scores = mask_metrics(prediction, truth)
    assert all(0 <= scores[key] <= 1 for key in OVERLAPS)
    assert math.isfinite(scores["hd95"])
    assert scores["dice"] == pytest.approx(2 * scores["iou"] / (1 + scores["iou"]))


@given(masks, masks)
def test_swapping_the_masks_swaps_recall_and_precision_alone(one, other):
    there, back = mask_metrics(one, other), mask_metrics(other, one)
    assert there["recall"] == back["precision"]
    for key in ("dice", "iou", "cldice", "hd95"):
        assert there[key] == pytest.approx(back[key])


@given(arrays(np.bool_, (4, 9, 11)), masks)
def test_scores_of_many_masks_equal_scores_of_each(predictions, truth):
    together = overlap_scores(predictions, truth)
    for key in ("dice", "recall", "precision"):
        each = [mask_metrics(one, truth)[key] for one in predictions]
        np.testing.assert_array_equal(together[key], each)


def test_no_masks_have_no_scores():
    scores = overlap_scores(np.zeros((0, 3, 3), bool), np.ones((3, 3), bool))
    assert all(score.shape == (0,) for score in scores.values())
