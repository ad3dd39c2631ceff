import numpy as np
import pytest

from vesselrl.reward.report_card import fitness, ordering, report_card, within_image_tau


def image(true, raw, predicted=None, confidence=None):
    true, raw = np.asarray(true, float), np.asarray(raw, float)
    return {
        "true_dice": true,
        "predicted_raw": raw,
        "predicted_dice": raw if predicted is None else np.asarray(predicted, float),
        "confidence": raw if confidence is None else np.asarray(confidence, float),
    }


def test_a_perfect_judge():
    card = report_card(
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
            "n_images": 2,
        }
    )


def test_a_judge_that_knows_the_image_but_not_the_mask_is_unmasked():
    """High pooled correlation, no order within an image: of no use to a policy."""
    rng = np.random.default_rng(0)
    level = np.linspace(0.2, 0.8, 30)
    images = [image(x + rng.normal(0, 0.02, 50), x + rng.normal(0, 0.02, 50)) for x in level]
    card = report_card(images)
    assert card["pooled_r"] > 0.95
    assert abs(card["within_image_tau"]) < 0.1
    assert not fitness(card, 0.3)["fit"]


def test_a_biased_judge_ranks_well_and_is_off_by_its_bias():
    true = np.array([0.2, 0.4, 0.6])
    card = report_card([image(true, true + 0.1)])
    assert card["within_image_tau"] == pytest.approx(1)
    assert card["mae"] == pytest.approx(0.1)
    assert card["calibration_error"] == pytest.approx(0.1)


def test_the_error_before_calibration_is_told_apart():
    true = np.array([0.2, 0.4, 0.6])
    card = report_card([image(true, true + 0.1, predicted=true)])
    assert card["mae"] == pytest.approx(0)
    assert card["mae_raw"] == pytest.approx(0.1)


def test_regret_is_the_dice_lost_by_following_the_judge():
    images = [image([0.9, 0.5], [0.1, 0.2]), image([0.3, 0.7], [0.1, 0.2])]
    assert ordering(images, "predicted_raw")["top1_regret"] == pytest.approx(0.2)


def test_a_rival_is_judged_by_the_same_rule():
    images = [image([0.1, 0.5, 0.9], [0.1, 0.5, 0.9], confidence=[0.9, 0.5, 0.1])]
    assert ordering(images, "confidence")["within_image_tau"] == pytest.approx(-1)


def test_images_without_an_order_do_not_count_and_a_judge_without_opinion_has_none():
    falling, flat = np.array([3.0, 2, 1]), np.ones(3)
    assert within_image_tau([(falling, falling), (falling, flat)]) == pytest.approx(1)
    assert within_image_tau([(falling, falling), (flat, falling)]) == pytest.approx(0.5)
    assert within_image_tau([]) == 0


def test_a_constant_prediction_has_no_correlation():
    card = report_card([image([0.1, 0.9], [0.5, 0.5]), image([0.2, 0.8], [0.5, 0.5])])
    assert card["pooled_r"] == card["across_image_r"] == card["within_image_tau"] == 0


def test_a_card_of_no_images_says_so():
    assert report_card([]) == {"n_images": 0}


@pytest.mark.parametrize(("tau", "fit"), [(0.3, True), (0.29, False)])
def test_the_verdict_follows_tau_and_says_why(tau, fit):
    verdict = fitness({"within_image_tau": tau}, 0.3)
    assert verdict["fit"] is fit
    assert f"{tau:.2f}" in verdict["reason"]
    assert ("a policy can learn" in verdict["reason"]) == fit
