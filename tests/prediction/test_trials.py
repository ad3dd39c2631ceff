"""Whether predicted scores are true of images whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from vesselrl.prediction.trials import (
    TRIAL_COLUMNS,
    calibration_of,
    check,
    rank_correlation,
    worst_found,
)


def trials(raw, true, groups=None):
    groups = groups or [f"g{number}" for number in range(len(raw))]
    table = pd.DataFrame({"image": groups, "group": groups, "split": "test"})
    for name in ("dice", "recall", "precision"):
        table[f"raw_{name}"], table[f"true_{name}"] = raw, true
    return table[TRIAL_COLUMNS]


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.5, 0.9, 30)
    return calibration_of(trials(raw, raw - 0.1 + rng.normal(0, 0.02, 30)), 0.8, None)


def test_a_check_counts_the_images_whose_dice_lies_in_its_interval(calibration):
    true = np.array([0.5, 0.55, 0.6, 0.2])
    found = check(calibration, trials(true + 0.1, true + np.array([0, 0, 0, 0.5])))
    assert found["covered"] == 0.75
    assert found["mean_error"] == pytest.approx(0.5 / 4, abs=0.02)
    assert 0.02 < found["width"] < 0.12
    assert (found["images"], found["groups"]) == (4, 4)
    assert (found["validation_groups"], found["groups_needed"]) == (30, 4)


def test_without_images_nothing_can_be_told(calibration):
    found = check(calibration, trials([], []))
    assert found["images"] == 0
    assert found["covered"] is found["spearman"] is found["worst_found"] is None


def test_the_order_of_equal_predictions_is_not_told():
    assert rank_correlation(np.full(3, 0.5), np.array([0.1, 0.2, 0.3])) is None
    assert rank_correlation(np.arange(4.0), np.array([1.0, 2, 4, 3])) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("worst", "found"), [((0, 3), 1), ((0, 4), 0.5), ((4, 19), 0)], ids=["both", "one", "none"]
)
def test_the_two_worst_of_20_images_are_sought_among_the_first_4(worst, found):
    predicted, true = np.arange(20.0), np.full(20, 0.9)
    true[list(worst)] = 0.1
    assert worst_found(predicted, true) == found
