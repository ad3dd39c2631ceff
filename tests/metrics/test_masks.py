import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from monai.metrics import (
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    get_confusion_matrix,
)
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from vesselrl.metrics.geometry import Geometry
from vesselrl.metrics.masks import mask_metrics, overlap_scores

OVERLAPS = ("dice", "iou", "recall", "precision", "cldice")
WIDTHS = ("thin_recall", "thick_recall", "thin_share")
masks = arrays(np.bool_, (9, 11))


def blobs(random: np.random.Generator, shape: tuple[int, int], width: float) -> np.ndarray:
    return ndimage.gaussian_filter(random.normal(size=shape), width) > 0.1 / width


def one_pixel(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[random.integers(shape[0]), random.integers(shape[1])] = True
    return mask


def frame(shape: tuple[int, int]) -> np.ndarray:
    return np.pad(np.zeros((shape[0] - 2, shape[1] - 2), bool), 1, constant_values=True)


def fabricate_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """200 pairs: blobs, lines, noise and what is at the edge of being a mask at all."""
    random = np.random.default_rng(0)
    pairs = []
    for number in range(200):
        shape = [(41, 37), (24, 60), (33, 33), (7, 50)][number % 4]
        kinds = [
            blobs(random, shape, 2), blobs(random, shape, 1), blobs(random, shape, 2),
            random.random(shape) < 0.05, one_pixel(random, shape), frame(shape),
            np.ones(shape, bool), np.zeros(shape, bool),
        ]  # fmt: skip
        first, second = random.choice(len(kinds), 2, p=[0.25, 0.25, 0.2, *[0.06] * 5])
        pairs.append((kinds[first], kinds[second]))
    return pairs


PAIRS = fabricate_pairs()
BOTH_HAVE_PIXELS = [pair for pair in PAIRS if pair[0].any() and pair[1].any()]


def for_monai(mask: np.ndarray) -> torch.Tensor:
    return torch.tensor(mask)[None, None].float()


def test_overlaps_equal_monai_on_200_pairs():
    assert len(BOTH_HAVE_PIXELS) > 150
    for prediction, truth in BOTH_HAVE_PIXELS:
        ours, theirs = mask_metrics(prediction, truth), (for_monai(prediction), for_monai(truth))
        assert ours["dice"] == pytest.approx(float(compute_dice(*theirs)), abs=1e-6)
        assert ours["iou"] == pytest.approx(float(compute_iou(*theirs)), abs=1e-6)
        matrix = get_confusion_matrix(*theirs)
        for score in ("recall", "precision"):
            value = float(compute_confusion_matrix_metric(score, matrix))
            assert ours[score] == pytest.approx(value, abs=1e-6)


def test_hd95_equals_monai_on_200_pairs():
    for prediction, truth in BOTH_HAVE_PIXELS:
        theirs = compute_hausdorff_distance(
            for_monai(prediction), for_monai(truth), percentile=95, include_background=True
        )
        assert mask_metrics(prediction, truth)["hd95"] == pytest.approx(float(theirs), abs=1e-4)


def test_cldice_equals_the_papers_formula_on_200_pairs():
    for prediction, truth in BOTH_HAVE_PIXELS:
        centreline, true_centreline = skeletonize(prediction), skeletonize(truth)
        precision = (centreline * truth).sum() / centreline.sum()
        sensitivity = (true_centreline * prediction).sum() / true_centreline.sum()
        expected = 2 * precision * sensitivity / max(precision + sensitivity, 1e-9)
        assert mask_metrics(prediction, truth)["cldice"] == pytest.approx(expected)


def number_of_regions(mask: np.ndarray) -> int:
    """Euler's number plus the holes, which are the 4-connected regions outside but for one."""
    outside = ndimage.label(np.pad(~mask, 1, constant_values=True))[1]
    return euler_number(mask, connectivity=2) + outside - 1


def test_components_error_equals_the_count_by_eulers_number_on_200_pairs():
    for prediction, truth in PAIRS:
        expected = abs(number_of_regions(prediction) - number_of_regions(truth))
        assert mask_metrics(prediction, truth)["components_error"] == expected


def possible_radii(mask: np.ndarray) -> list[set[float]]:
    """Of each pixel the radii at its nearest centreline pixels, of which there may be several."""
    centreline, outside = np.argwhere(skeletonize(mask)), np.argwhere(~mask)
    radius = cdist(centreline, outside).min(axis=1) if len(outside) else [np.inf] * len(centreline)
    distances = cdist(np.argwhere(mask), centreline)
    nearest = np.isclose(distances, distances.min(axis=1, keepdims=True))
    return [{radius[i] for i in row.nonzero()[0]} for row in nearest]


def test_local_radius_equals_brute_force_on_200_masks():
    for _, truth in BOTH_HAVE_PIXELS:
        ours, theirs = Geometry(truth).local_radius, possible_radii(truth)
        assert len(ours) == len(theirs)
        for radius, possible in zip(ours, theirs, strict=True):
            assert radius in possible or min(abs(radius - one) for one in possible) < 1e-9


def test_scores_equal_values_counted_by_hand():
    prediction, truth = np.zeros((2, 8, 8), bool)
    prediction[0, 0:4] = True
    truth[0, 2:8] = True
    truth[5, 5] = True
    scores = mask_metrics(prediction, truth)
    assert scores["dice"] == pytest.approx(2 * 2 / (4 + 7))
    assert scores["iou"] == pytest.approx(2 / 9)
    assert scores["recall"] == pytest.approx(2 / 7)
    assert scores["precision"] == pytest.approx(2 / 4)
    assert scores["components_error"] == 1


def thin_and_thick() -> tuple[np.ndarray, np.ndarray]:
    """A branch 3 pixels wide and a trunk 9 pixels wide, both across the image."""
    thin, thick = np.zeros((2, 40, 60), bool)
    thin[5:8] = True
    thick[20:29] = True
    return thin, thick


def test_a_lost_thin_branch_shows_in_thin_recall_alone():
    thin, thick = thin_and_thick()
    scores = mask_metrics(thick, thin | thick)
    assert scores["recall"] == pytest.approx(0.75)
    assert scores["thin_recall"] == 0
    assert scores["thick_recall"] == 1
    assert scores["thin_share"] == pytest.approx(3 / 12)
    scores = mask_metrics(thin, thin | thick)
    assert (scores["thin_recall"], scores["thick_recall"]) == (1, 0)


@pytest.mark.parametrize(("width", "radius"), [(1, 1), (3, 2), (4, 2), (5, 3), (9, 5)])
def test_local_radius_is_half_the_width_of_a_vessel(width, radius):
    vessel = np.zeros((30, 60), bool)
    vessel[10 : 10 + width] = True
    middle = np.broadcast_to(np.abs(np.arange(60) - 30) < 20, vessel.shape)
    assert set(Geometry(vessel).local_radius[middle[vessel]]) == {radius}


def test_recall_is_the_mean_of_thin_and_thick_recall_weighted_by_their_shares():
    for prediction, truth in BOTH_HAVE_PIXELS:
        scores = mask_metrics(prediction, truth)
        share = scores["thin_share"]
        parts = [(scores["thin_recall"], share), (scores["thick_recall"], 1 - share)]
        together = sum(recall * weight for recall, weight in parts if weight)
        assert together == pytest.approx(scores["recall"])


def test_two_empty_masks_agree_perfectly():
    empty = np.zeros((6, 8), bool)
    scores = mask_metrics(empty, empty)
    assert scores == pytest.approx(
        {
            **dict.fromkeys(OVERLAPS, 1.0), "hd95": 0.0, "components_error": 0.0,
            **dict.fromkeys(WIDTHS, math.nan),
        },
        nan_ok=True,
    )  # fmt: skip


def test_an_empty_prediction_finds_nothing_and_lies_a_diagonal_away():
    empty, thin = np.zeros((2, 6, 8), bool)
    thin[3] = True
    assert mask_metrics(empty, thin) == pytest.approx(
        {
            **dict.fromkeys(OVERLAPS, 0.0), "hd95": 10.0, "components_error": 1.0,
            "thin_recall": 0.0, "thick_recall": math.nan, "thin_share": 1.0,
        },
        nan_ok=True,
    )  # fmt: skip


def test_where_the_truth_is_empty_there_is_no_thin_or_thick_vessel_to_find():
    empty, full = np.zeros((6, 8), bool), np.ones((6, 8), bool)
    assert mask_metrics(full, empty) == pytest.approx(
        {
            **dict.fromkeys(OVERLAPS, 0.0), "hd95": 10.0, "components_error": 1.0,
            **dict.fromkeys(WIDTHS, math.nan),
        },
        nan_ok=True,
    )  # fmt: skip


def test_a_truth_that_fills_the_image_is_thick():
    full = np.ones((6, 8), bool)
    scores = mask_metrics(full, full)
    assert scores["thick_recall"] == 1
    assert scores["thin_share"] == 0


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="same image"):
        mask_metrics(np.zeros((3, 4), bool), np.zeros((4, 3), bool))


def test_predictions_that_share_the_geometry_of_a_truth_score_as_they_do_alone():
    truth = np.logical_or(*thin_and_thick())
    shared = Geometry(truth)
    for prediction in (truth, ~truth, np.roll(truth, 2)):
        assert mask_metrics(prediction, shared) == mask_metrics(prediction, truth)
        assert mask_metrics(Geometry(prediction), truth) == mask_metrics(prediction, truth)


def test_hd95_of_a_shifted_line_is_the_shift():
    truth = np.zeros((40, 40), bool)
    truth[10, 5:35] = True
    assert mask_metrics(np.roll(truth, 3, axis=0), truth)["hd95"] == 3


def test_a_broken_vessel_and_specks_raise_the_components_error():
    truth = np.zeros((20, 40), bool)
    truth[10, 5:35] = True
    broken = truth.copy()
    broken[10, 20] = False
    specks = truth.copy()
    specks[3, [3, 9, 15]] = True
    assert mask_metrics(broken, truth)["components_error"] == 1
    assert mask_metrics(specks, truth)["components_error"] == 3
    diagonal = np.eye(20, 40, dtype=bool)
    assert mask_metrics(diagonal, truth)["components_error"] == 0


def test_cldice_forgives_width_but_not_a_missing_branch():
    truth = np.zeros((40, 60), bool)
    truth[18:23, 5:55] = True
    thin = np.zeros_like(truth)
    thin[20, 5:55] = True
    half = truth.copy()
    half[:, 30:] = False
    # the centreline of a bar ends in forks, which a thin line misses
    assert mask_metrics(thin, truth)["cldice"] > 0.95
    assert mask_metrics(thin, truth)["dice"] < 0.5
    assert mask_metrics(half, truth)["cldice"] == pytest.approx(2 / 3, abs=0.05)


@given(masks, masks)
def test_overlaps_lie_in_the_unit_interval_and_dice_follows_from_iou(prediction, truth):
    scores = mask_metrics(prediction, truth)
    assert all(0 <= scores[key] <= 1 for key in OVERLAPS)
    assert all(0 <= scores[key] <= 1 or math.isnan(scores[key]) for key in WIDTHS)
    assert math.isfinite(scores["hd95"])
    assert scores["dice"] == pytest.approx(2 * scores["iou"] / (1 + scores["iou"]))


@given(masks, masks)
def test_swapping_the_masks_swaps_recall_and_precision_alone(one, other):
    there, back = mask_metrics(one, other), mask_metrics(other, one)
    assert there["recall"] == back["precision"]
    for key in ("dice", "iou", "cldice", "hd95", "components_error"):
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
