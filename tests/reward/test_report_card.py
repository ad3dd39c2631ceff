from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from vesselrl.reward.calibration import Line
from vesselrl.reward.parameters import FitnessParameters
from vesselrl.reward.report_card import (
    fitness,
    report_card,
    rival_cards,
    top1_regret,
    within_image_tau,
)

FITNESS = FitnessParameters(tau=0.3, hacks_right=0.75)


def image(true, raw, predicted=None, disagreement=None, **rivals):
    true, raw = np.asarray(true, float), np.asarray(raw, float)
    return {
        "true_dice": true,
        "raw_dice": raw,
        "predicted_dice": raw if predicted is None else np.asarray(predicted, float),
        "disagreement": np.zeros_like(raw) if disagreement is None else np.asarray(disagreement),
        **{f"rival_{name}": np.asarray(scores, float) for name, scores in rivals.items()},
    }


def loaders(images):
    return [lambda image=one: image for one in images]


def card_of(images, objective=("dice",)):
    return report_card(loaders(images), objective)


def hacks(**right):
    table = pd.DataFrame({"hack": list(right), "right": list(right.values())})
    return table.assign(dice_share=1.0)


def test_a_perfect_judge():
    card = card_of(
        [image([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]), image([0.2, 0.3, 0.8], [0.2, 0.3, 0.8])]
    )
    assert card == pytest.approx(
        {
            "pooled_r": 1,
            "across_image_r": 1,
            "within_image_tau": 1,
            "top1_regret": 0,
            "mae": 0,
            "mae_raw": 0,
            "calibration_error": 0,
            "disagreement_r": None,
            "objective_tau": 1,
            "objective_regret": 0,
            "n_images": 2,
        }
    )


def test_a_judge_that_knows_the_image_but_not_the_mask_is_unmasked():
    """High pooled correlation, no order within an image: of no use to a policy."""
    rng = np.random.default_rng(0)
    level = np.linspace(0.2, 0.8, 30)
    images = [image(x + rng.normal(0, 0.02, 50), x + rng.normal(0, 0.02, 50)) for x in level]
    card = card_of(images)
    assert card["pooled_r"] > 0.95
    assert abs(card["within_image_tau"]) < 0.1
    assert not fitness(card, hacks(empty=True), FITNESS)["fit"]


def test_a_biased_judge_ranks_well_and_is_off_by_its_bias():
    true = np.array([0.2, 0.4, 0.6])
    card = card_of([image(true, true + 0.1)])
    assert card["within_image_tau"] == pytest.approx(1)
    assert card["mae"] == pytest.approx(0.1)
    assert card["calibration_error"] == pytest.approx(0.1)


def test_the_error_before_calibration_is_told_apart():
    true = np.array([0.2, 0.4, 0.6])
    card = card_of([image(true, true + 0.1, predicted=true)])
    assert card["mae"] == pytest.approx(0)
    assert card["mae_raw"] == pytest.approx(0.1)


def test_regret_is_the_dice_lost_by_following_the_judge():
    pairs = [([0.1, 0.2], [0.9, 0.5]), ([0.1, 0.2], [0.3, 0.7])]
    assert top1_regret([tuple(map(np.array, pair)) for pair in pairs]) == pytest.approx(0.2)


def test_a_rival_is_judged_by_the_same_rule():
    """Among other things it has a line to the true Dice of its own, fitted on validation images."""
    true = [0.1, 0.5, 0.9]
    val = [image(true, true, backwards=[0.9, 0.5, 0.1], doubled=[0.2, 1.0, 1.8])] * 2
    test = [image(true, true, backwards=[0.9, 0.5, 0.1], doubled=[0.4, 1.2, 2.0])]
    cards = rival_cards(loaders(val), loaders(test))
    assert set(cards) == {"backwards", "doubled"}
    assert cards["backwards"]["val"]["within_image_tau"] == pytest.approx(-1)
    assert cards["doubled"]["val"]["mae"] == pytest.approx(0)
    assert cards["doubled"]["test"]["mae"] == pytest.approx((0.1 + 0.1 + 0.1) / 3)
    assert cards["doubled"]["test"]["n_images"] == 1
    assert rival_cards(loaders(val), [])["doubled"]["test"] == {"n_images": 0}


def test_the_objective_has_an_order_of_its_own():
    dice, recall = np.array([0.5, 0.6, 0.7]), np.array([0.9, 0.6, 0.2])
    both = {"true_recall": recall, "predicted_recall": recall}
    card = card_of([image(dice, dice) | both], ["dice", "recall"])
    assert card["objective_tau"] == pytest.approx(1)
    misled = card_of([image(dice, dice[::-1]) | both], ["dice", "recall"])
    assert misled["within_image_tau"] == pytest.approx(-1)
    assert misled["objective_tau"] == pytest.approx(1)


def test_the_order_of_the_objective_is_that_of_what_is_paid():
    dice, recall = np.array([0.5, 0.6, 0.7]), np.array([0.65, 0.6, 0.58])
    flat = np.full(3, 0.6)  # a line without slope: all masks are paid alike for their Dice
    scores = image(dice, dice, predicted=flat) | {"true_recall": recall, "raw_recall": recall}
    card = card_of([scores | {"predicted_recall": recall}], ["dice", "recall"])
    assert card["objective_tau"] == pytest.approx(-1)
    assert card["objective_regret"] == pytest.approx(0.64 - 0.575)


def test_disagreement_tells_where_the_prediction_is_off():
    true = np.linspace(0.2, 0.8, 7)
    error = np.linspace(0, 0.2, 7)
    card = card_of([image(true, true + error, disagreement=error / 3)])
    assert card["disagreement_r"] == pytest.approx(1)


@given(st.integers(1, 9), st.integers(2, 30), st.floats(0, 0.5), st.integers(0, 2**32 - 1))
@example(1, 2, 0.0, 1_335_004_630)
@example(1, 2, 0.5, 76)
def test_figures_over_all_masks_are_those_of_the_formulas(count, masks, noise, seed):
    rng = np.random.default_rng(seed)
    images = []
    for level in rng.random(count):
        true = (level + rng.normal(0, 0.2, masks)).clip(0, 1)
        judged = true + rng.normal(0, noise, masks)
        images.append(image(true, judged, judged.clip(0, 1), rng.random(masks), one=judged + 1))
    card, rival = card_of(images), rival_cards(loaders(images), loaders(images))["one"]["test"]
    true, raw, predicted, disagreement, one = (
        np.concatenate([of_image[key] for of_image in images])
        for key in ("true_dice", "raw_dice", "predicted_dice", "disagreement", "rival_one")
    )
    pooled = np.corrcoef(raw, true)[0, 1] if np.ptp(true) else 0  # all masks may be full or empty
    assert card["pooled_r"] == pytest.approx(pooled, abs=1e-6)
    assert card["mae"] == pytest.approx(np.abs(predicted - true).mean())
    assert card["mae_raw"] == pytest.approx(np.abs(raw - true).mean())
    bins = np.minimum(predicted * 10, 9).astype(int)
    gaps = [abs((predicted - true)[bins == b].sum()) for b in range(10)]
    assert card["calibration_error"] == pytest.approx(sum(gaps) / true.size)
    errors = np.abs(predicted - true)
    if np.ptp(errors) == 0:  # as those of two masks can be that are both clipped
        assert card["disagreement_r"] is None
    elif noise > 0.01:  # alike but for rounding they have no order either
        expected = spearmanr(disagreement, errors).statistic
        assert card["disagreement_r"] == pytest.approx(expected)
    line = Line.fit([(of_image["rival_one"], of_image["true_dice"]) for of_image in images])
    assert rival["mae"] == pytest.approx(np.abs(line(one) - true).mean(), abs=1e-9)


def test_the_scores_of_many_images_are_in_memory_one_after_the_other(monkeypatch):
    monkeypatch.setattr("vesselrl.reward.report_card.RANKED", 10)
    living, most = 0, 0

    class Scores(dict):
        def __init__(self, values):
            nonlocal living, most
            super().__init__(values)
            living += 1
            most = max(most, living)

        def __del__(self):
            nonlocal living
            living -= 1

    def load(seed):
        true, judged = np.random.default_rng(seed).random((2, 5))
        return Scores(image(true, judged, one=judged))

    images = [partial(load, seed) for seed in range(50)]
    assert report_card(images, ["dice"])["n_images"] == 50
    assert rival_cards(images, images)["one"]["test"]["n_images"] == 50
    assert most <= 2  # the last one is let go of when the next is there


def test_images_without_an_order_do_not_count_and_a_judge_without_opinion_has_none():
    falling, flat = np.array([3.0, 2, 1]), np.ones(3)
    assert within_image_tau([(falling, falling), (falling, flat)]) == pytest.approx(1)
    assert within_image_tau([(falling, falling), (flat, falling)]) == pytest.approx(0.5)
    assert within_image_tau([]) == 0


def test_a_constant_prediction_has_no_correlation():
    card = card_of([image([0.1, 0.9], [0.5, 0.5]), image([0.2, 0.8], [0.5, 0.5])])
    assert card["pooled_r"] == card["across_image_r"] == card["within_image_tau"] == 0


def test_a_card_of_no_images_says_so():
    assert card_of([]) == {"n_images": 0}


@pytest.mark.parametrize(("tau", "fit"), [(0.3, True), (0.29, False)])
def test_the_verdict_follows_tau_and_says_why(tau, fit):
    verdict = fitness({"objective_tau": tau}, hacks(empty=True, full=True), FITNESS)
    assert verdict["fit"] is fit
    assert f"{tau:.2f}" in verdict["reason"]
    assert ("which reaches" in verdict["reason"]) == fit


def test_a_network_that_a_hack_deceives_is_not_fit_however_well_it_orders():
    verdict = fitness({"objective_tau": 0.9}, hacks(empty=True, full=False), FITNESS)
    assert verdict["fit"] is False
    assert "deceived by everything is vessel" in verdict["reason"]


def test_a_network_that_cannot_tell_the_truth_itself_is_told_so_and_stays_fit():
    verdict = fitness({"objective_tau": 0.9}, hacks(empty=True, dilated_truth=False), FITNESS)
    assert verdict["fit"] is True
    assert "rates truth, too thick above the truth itself" in verdict["reason"]


@pytest.mark.parametrize(("in_dice", "words"), [(0.9, "right on 90%"), (0.2, "does so too")])
def test_what_the_objective_pays_beside_dice_is_told_from_what_the_network_cannot_see(
    in_dice, words
):
    table = hacks(empty=True, dilated_truth=False).assign(dice_share=[1.0, in_dice])
    assert words in fitness({"objective_tau": 0.9}, table, FITNESS)["reason"]
