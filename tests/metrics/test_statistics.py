import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from vesselrl.metrics.statistics import group_bootstrap_mean, holm, paired_bootstrap


def scores(n: int = 40, shift: float = 0.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, n)


def test_with_one_image_a_group_the_interval_is_scipys_percentile_bootstrap():
    values = scores()
    ours = group_bootstrap_mean(values, np.arange(40), resamples=20_000)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


def test_copies_of_a_patients_image_do_not_narrow_the_interval():
    values = scores()
    once = group_bootstrap_mean(values, np.arange(40))
    copied = group_bootstrap_mean(np.repeat(values, 5), np.repeat(np.arange(40), 5))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_groups_of_unequal_size_keep_the_mean_over_images():
    interval = group_bootstrap_mean([1, 1, 1, 5], ["a", "a", "a", "b"])
    assert interval.mean == 2
    assert (interval.low, interval.high) == (1, 5)


def test_a_clear_difference_is_significant_and_none_is_not():
    groups = np.arange(40)
    assert paired_bootstrap(scores(shift=2), groups).p_value < 0.001
    assert paired_bootstrap(scores(shift=0), groups).p_value > 0.05
    assert paired_bootstrap(np.zeros(40), groups).p_value == 1


def test_the_p_value_is_never_zero():
    result = paired_bootstrap(np.ones(9), np.arange(9), resamples=999)
    assert result.p_value == pytest.approx(2 / 1000)


def test_swapping_the_methods_mirrors_the_result():
    there = paired_bootstrap(scores(shift=0.3), np.arange(40))
    back = paired_bootstrap(-scores(shift=0.3), np.arange(40))
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))
    assert back.p_value == there.p_value


def test_p_below_alpha_goes_with_an_interval_without_zero():
    for shift in np.linspace(0, 0.8, 9):
        result = paired_bootstrap(scores(shift=shift), np.arange(40), alpha=0.05)
        if abs(result.p_value - 0.05) > 0.005:
            assert (result.p_value < 0.05) == (result.low > 0 or result.high < 0)


def test_the_seed_fixes_the_result():
    first, again, other = (
        group_bootstrap_mean(scores(), np.arange(40), seed=seed) for seed in (3, 3, 4)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("values", "groups"), [([], []), ([1.0, 2.0], ["a"]), ([1.0, float("nan")], ["a", "b"])]
)
def test_values_without_groups_or_numbers_are_refused(values, groups):
    with pytest.raises(ValueError, match="groups|not finite"):
        group_bootstrap_mean(values, groups)


def test_holm_equals_the_worked_example():
    # Sorted: 0.005·4, 0.01·3, 0.03·2, 0.04·1, then made monotone.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_is_nothing():
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_order_and_lies_between_p_and_bonferroni(p_values):
    p, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, len(p) * p) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
