"""Predicted Dice and its interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import effort
from vesselrl.prediction import calibration
from vesselrl.prediction.calibration import (
    Calibration,
    Votes,
    fitted_line,
    groups_needed,
)
from vesselrl.reward.calibration import Line


def patients(rng, groups, images=1, spread=0.05):
    """Raw and true Dice: patients differ, a patient's images are all but alike."""
    of_patient = np.repeat(rng.normal(0, spread, groups), images)
    raw = rng.uniform(0.6, 0.8, groups * images)
    true = (0.9 * raw + of_patient + rng.normal(0, 0.01, raw.size)).clip(0, 1)
    return raw, true, np.repeat([f"g{n}" for n in range(groups)], images)


@pytest.mark.parametrize("images", [1, 4])
def test_intervals_hold_the_dice_of_as_many_new_patients_as_was_asked_for(images):
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        raw, true, groups = patients(rng, 21, images)
        known = groups != "g20"
        votes = Votes.cast(raw[known], true[known], groups[known])
        for score, truth in zip(raw[~known], true[~known], strict=True):
            low, high = votes.interval(score, 0.8)
            held.append(low <= truth <= high)
    # the bound is 0.6; of 60 patients 0.8 ± 0.16 are three standard errors
    assert 0.64 <= np.mean(held) <= 0.96


def test_images_of_one_patient_have_one_vote_together():
    raw, true = np.full(6, 0.7), np.array([0.7, 0.7, 0.7, 0.7, 0.7, 0.2])
    votes = Votes.cast(raw, true, ["a", "a", "a", "a", "b", "c"])
    assert votes.weights == pytest.approx([1 / 16] * 4 + [1 / 4, 1 / 4])


@given(
    st.integers(1, 12), st.floats(0.5, 0.95), st.floats(-0.2, 1), st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_an_interval_lies_within_0_and_1_and_is_all_of_it_with_too_few_patients(
    groups, coverage, score, seed
):
    raw, true, of = patients(np.random.default_rng(seed), groups, 2)
    low, high = Votes.cast(raw, true, of).interval(score, coverage)
    assert 0 <= low <= high <= 1
    if groups < groups_needed(coverage):
        assert (low, high) == (0, 1)


@pytest.mark.parametrize(("coverage", "groups"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_how_many_patients_are_needed(coverage, groups):
    assert groups_needed(coverage) == groups
    raw, true, of = patients(np.random.default_rng(0), groups)
    low, high = Votes.cast(raw, true, of).interval(0.7, coverage)
    assert (low, high) != (0, 1) or groups == 1  # one patient has nobody to learn a line from


@given(
    st.integers(1, 30), st.integers(1, 4), st.floats(0, 0.3), st.floats(0.5, 0.95),
    st.floats(-0.2, 1.2), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_an_interval_goes_to_the_ends_that_so_much_of_the_votes_weight_does_not_exceed(
    groups, images, spread, coverage, score, seed
):
    votes = Votes.cast(*patients(np.random.default_rng(seed), groups, images, spread))
    said = np.clip(votes.slopes * score + votes.intercepts, 0, 1)

    def quantile(ends):
        """By the definition, of ends and the one at infinity."""
        weight = {end: votes.weights[ends <= end].sum() for end in ends}
        return min((end for end in ends if weight[end] >= coverage - 1e-12), default=math.inf)

    low, high = -quantile(votes.errors - said), quantile(said + votes.errors)
    assert votes.interval(score, coverage) == (max(0, low), min(1, high))
    assert Votes.from_state(votes.state()).interval(score, coverage) == (max(0, low), min(1, high))


def test_votes_that_nearly_agree_are_not_sorted_for_every_image():
    votes = Votes.cast(*patients(np.random.default_rng(0), 400))
    sorted_by_each = []
    with pytest.MonkeyPatch.context() as patch:
        sort = calibration._ranked
        patch.setattr(
            calibration,
            "_ranked",
            lambda values, weights: sorted_by_each.append(len(values)) or sort(values, weights),
        )
        votes.interval(0.7, 0.9)
        assert sorted_by_each.pop(0) == 400
        votes.interval(0.65, 0.9)
    assert max(sorted_by_each) < 80


@given(st.integers(1, 8), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_each_patients_line_is_the_one_of_all_others(groups, images, seed):
    raw, true, of = patients(np.random.default_rng(seed), groups, images)
    votes = Votes.cast(raw, true, of)
    for image in range(raw.size):
        others = of != of[image]
        line = fitted_line(raw[others], true[others], of[others])
        assert (votes.slopes[image], votes.intercepts[image]) == pytest.approx(
            (line.slope, line.intercept)
        )


def test_the_work_does_not_grow_with_the_square_of_the_patients():
    def cast(groups):
        raw, true, of = patients(np.random.default_rng(0), groups)
        return lambda: Votes.cast(raw, true, of)

    assert effort(cast(500)) == effort(cast(50))


def test_a_wider_promise_is_a_wider_interval():
    raw, true, of = patients(np.random.default_rng(3), 40)
    votes = Votes.cast(raw, true, of)
    widths = [np.diff(votes.interval(0.7, share))[0] for share in (0.5, 0.8, 0.95)]
    assert widths == sorted(widths)


def test_nothing_of_a_patient_has_a_part_in_what_its_own_error_is_measured_by():
    raw, true, of = patients(np.random.default_rng(1), 6)
    before = Votes.cast(raw, true, of)
    changed = true.copy()
    changed[0] = 0
    after = Votes.cast(raw, changed, of)
    assert after.slopes[0] == pytest.approx(before.slopes[0], rel=1e-12)
    assert after.intercepts[0] == pytest.approx(before.intercepts[0], rel=1e-12)
    assert (after.intercepts[1:] != before.intercepts[1:]).all()


def test_a_line_takes_away_what_bias_there_is_and_keeps_the_order():
    raw = np.linspace(0.6, 0.8, 30)
    line = fitted_line(raw, raw - 0.1, np.arange(30))
    assert line(raw) == pytest.approx(raw - 0.1)
    two = fitted_line(np.array([0.7, 0.71]), np.array([0.6, 0.4]), np.array(["a", "b"]))
    assert 0 < two.slope < 1  # two images do not turn the order round


def test_patients_of_many_images_do_not_outweigh_the_others():
    raw = np.full(11, 0.7)
    true = np.array([0.5] * 10 + [0.9])
    line = fitted_line(raw, true, np.array(["a"] * 10 + ["b"]))
    assert line(np.array([0.7]))[0] == pytest.approx(0.7)


def test_without_images_scores_stay_as_they_are():
    assert fitted_line(np.empty(0), np.empty(0), np.empty(0)) == Line()
    calibration = Calibration.unknown()
    assert calibration.scores({"dice": 0.7}) == {"dice": 0.7}
    assert calibration.interval(0.7) == (0, 1)
    assert math.isnan(calibration.out_of_distribution(lambda: np.zeros(16, np.float32)))


def test_each_score_has_a_line_of_its_own():
    rng = np.random.default_rng(0)
    raw = {name: rng.random(20) * 0.2 + 0.6 for name in ("dice", "recall", "precision")}
    true = {"dice": raw["dice"] - 0.1, "recall": raw["recall"], "precision": raw["precision"] + 0.1}
    of = [str(n) for n in range(20)]
    scores = Calibration.fit(raw, true, of, 0.9, None).scores(dict.fromkeys(raw, 0.7))
    assert scores == pytest.approx({"dice": 0.6, "recall": 0.7, "precision": 0.8})
