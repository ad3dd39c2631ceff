import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm, permutation_test, t, ttest_1samp, wilcoxon

from vesselrl.metrics.statistics import (
    detectable_difference,
    group_bootstrap_mean,
    holm,
    paired_difference,
    rank_biserial,
    smallest_p,
)

DRAWS = 1000


def scores(n: int = 40, shift: float = 0.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, n)


def grouped(
    random: np.random.Generator, groups: int, mean: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Values of 1 to 3 images a group, half of whose variance is between groups."""
    labels = np.repeat(np.arange(groups), random.integers(1, 4, groups))
    of_group, of_image = random.normal(size=groups), random.normal(size=len(labels))
    return mean + np.sqrt(0.5) * (of_group[labels] + of_image), labels


@pytest.mark.parametrize("groups", [10, 17, 40])
def test_of_null_differences_5_percent_are_significant_and_intervals_hold_95_percent(groups):
    random = np.random.default_rng(groups)
    results = [paired_difference(*grouped(random, groups), resamples=2000) for _ in range(DRAWS)]
    false_positives = np.mean([result.p_value < 0.05 for result in results])
    covered = np.mean([result.low <= 0 <= result.high for result in results])
    assert 0.03 <= false_positives <= 0.07
    assert 0.92 <= covered <= 0.98


def test_intervals_of_a_mean_cover_it_whatever_the_correlation_of_images():
    random = np.random.default_rng(3)
    intervals = [
        group_bootstrap_mean(*grouped(random, 17, mean=0.8), resamples=2000) for _ in range(DRAWS)
    ]
    assert 0.92 <= np.mean([one.low <= 0.8 <= one.high for one in intervals]) <= 0.98


@pytest.mark.parametrize("groups", [10, 17, 40])
def test_a_difference_as_large_as_detectable_is_found_in_four_of_five_tests(groups):
    random = np.random.default_rng(groups)
    pilots = [paired_difference(*grouped(random, groups), resamples=9) for _ in range(300)]
    error = np.sqrt(np.mean([pilot.standard_error**2 for pilot in pilots]))
    truly = detectable_difference(error, groups, alpha=0.05, power=0.8)
    found = [
        paired_difference(*grouped(random, groups, truly), resamples=2000).p_value < 0.05
        for _ in range(400)
    ]
    assert 0.72 <= np.mean(found) <= 0.88


@pytest.mark.parametrize(("groups", "comparisons"), [(6, 1), (8, 5), (10, 17)])
def test_where_hardly_a_group_may_differ_the_other_way_as_much_more_is_detectable(
    groups, comparisons
):
    random, alpha = np.random.default_rng(groups), 0.05 / comparisons
    truly = detectable_difference(1 / np.sqrt(groups), groups, alpha)
    found = [
        paired_difference(random.normal(truly, 1, groups), range(groups), resamples=2000).p_value
        for _ in range(400)
    ]
    assert np.mean(np.array(found) < alpha) == pytest.approx(0.8, abs=0.06)


def test_what_is_detectable_follows_blooms_formula_and_shrinks_with_groups():
    expected = (t.ppf(0.975, 19) + t.ppf(0.8, 19)) * 0.01
    assert detectable_difference(0.01, 20, alpha=0.05) == pytest.approx(expected)
    assert detectable_difference(0.01, 40, 0.05) < expected < detectable_difference(0.01, 20, 0.01)


def test_nothing_is_detectable_where_groups_are_too_few_to_be_significant():
    assert smallest_p(5) > 0.05
    assert detectable_difference(0.01, 5, alpha=0.05) == np.inf
    assert detectable_difference(0.01, 6, alpha=0.05) < np.inf


def test_with_one_image_a_group_the_interval_is_scipys_percentile_bootstrap_expanded():
    values = scores()
    ours = group_bootstrap_mean(values, np.arange(40), resamples=20_000)
    tail = norm.cdf(np.sqrt(40 / 39) * t.ppf(0.025, 39))
    theirs = bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * tail, n_resamples=20_000,
        method="percentile", rng=0,
    )  # fmt: skip
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


def test_with_one_image_a_group_the_standard_error_is_the_textbooks():
    values = scores()
    result = paired_difference(values, np.arange(40))
    assert result.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    assert result.standard_error == pytest.approx(result.mean / ttest_1samp(values, 0).statistic)


@pytest.mark.parametrize(("groups", "tolerance"), [(2, 0), (9, 0), (13, 0), (14, 0.01), (40, 0.01)])
def test_the_p_value_is_scipys_permutation_test_of_group_sums(groups, tolerance):
    values, labels = grouped(np.random.default_rng(groups), groups, mean=0.3)
    sums = np.bincount(labels, values)
    theirs = permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=10_000, rng=0
    ).pvalue
    assert paired_difference(values, labels).p_value == pytest.approx(theirs, abs=tolerance + 1e-12)


def test_a_clear_difference_is_significant_and_none_is_not():
    groups = np.arange(40)
    assert paired_difference(scores(shift=2), groups).p_value < 0.001
    assert paired_difference(scores(shift=0), groups).p_value > 0.05
    assert paired_difference(np.zeros(40), groups).p_value == 1


@pytest.mark.parametrize(("groups", "resamples"), [(1, 100), (3, 100), (9, 10_000), (30, 999)])
def test_the_p_value_is_never_smaller_than_groups_and_resamples_allow(groups, resamples):
    p = paired_difference(np.ones(groups), np.arange(groups), resamples=resamples).p_value
    assert p == pytest.approx(max(smallest_p(groups), 1 / (resamples + 1)))


def test_one_group_tells_nothing_of_others():
    result = paired_difference([0.1, 0.2], ["a", "a"])
    assert (result.p_value, result.standard_error) == (1, np.inf)


def test_rank_biserial_equals_what_wilcoxons_statistic_gives():
    differences = scores(30, 0.3)
    less = wilcoxon(differences).statistic  # the smaller sum of ranks, here the negative one
    assert rank_biserial(differences) == pytest.approx(1 - 2 * less / (30 * 31 / 2))
    assert rank_biserial([0.1, 0.2, -0.3]) == 0
    assert rank_biserial([0.1, 0, 0.4]) == 1
    assert rank_biserial([0, 0]) == 0


def test_the_effect_counts_groups_not_images():
    many = paired_difference([-1, -1, -1, 2, 3], ["a", "a", "a", "b", "c"])
    assert many.effect_size == paired_difference([-1, 2, 3], ["a", "b", "c"]).effect_size


def test_swapping_the_methods_mirrors_the_result():
    there = paired_difference(scores(shift=0.3), np.arange(40))
    back = paired_difference(-scores(shift=0.3), np.arange(40))
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))
    assert back.p_value == there.p_value
    assert back.effect_size == -there.effect_size


def test_p_below_alpha_goes_with_an_interval_without_zero():
    for shift in np.linspace(0, 0.8, 9):
        result = paired_difference(scores(shift=shift), np.arange(40), alpha=0.05)
        if abs(result.p_value - 0.05) > 0.01:
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
    with pytest.raises(ValueError, match="groups|not finite"):
        paired_difference(values, groups)


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
