import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.metrics.masks import overlap_scores
from vesselrl.reward.corruptions import CORRUPTIONS, corrupt, unchanged

CHANGES = [corruption for corruption in CORRUPTIONS if corruption is not unchanged]


@pytest.mark.parametrize("corruption", CHANGES, ids=lambda corruption: corruption.__name__)
def test_a_corruption_changes_the_mask_but_not_its_form(corruption, drawn):
    for number, (_, mask, _) in enumerate(list(drawn.values())[:4]):
        before = mask.copy()
        corrupted = corruption(mask, np.random.default_rng(number))
        assert corrupted.shape == mask.shape
        assert corrupted.dtype == np.bool_
        assert (corrupted != mask).any()
        np.testing.assert_array_equal(mask, before)  # the original stays as it was


@pytest.mark.parametrize(
    "name", ["missing_parts", "missing_thin_branches", "broken_vessels", "too_thin"]
)
def test_some_corruptions_only_take_away(name, drawn):
    corruption = next(c for c in CORRUPTIONS if c.__name__ == name)
    mask = drawn["i0"][1]
    assert not (corruption(mask, np.random.default_rng(0)) & ~mask).any()


@pytest.mark.parametrize("name", ["false_branches", "leakage", "too_thick"])
def test_some_corruptions_only_add(name, drawn):
    corruption = next(c for c in CORRUPTIONS if c.__name__ == name)
    mask = drawn["i0"][1]
    assert not (mask & ~corruption(mask, np.random.default_rng(0))).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0]), st.tuples(*[st.integers(1, 40)] * 2))
def test_empty_full_and_tiny_masks_are_corrupted_without_an_error(seed, value, shape):
    name, corrupted = corrupt(np.full(shape, bool(value)), np.random.default_rng(seed))
    assert name
    assert corrupted.shape == shape
    assert corrupted.dtype == np.bool_


def test_the_generator_alone_decides(drawn):
    mask = drawn["i1"][1]
    (one, a), (same, b) = (corrupt(mask, np.random.default_rng(5)) for _ in range(2))
    assert one == same
    np.testing.assert_array_equal(a, b)


def test_corruptions_reach_from_perfect_to_useless(drawn):
    rng = np.random.default_rng(0)
    mask = drawn["i2"][1]
    corrupted = np.stack([corrupt(mask, rng)[1] for _ in range(60)])
    dice = overlap_scores(corrupted, mask)["dice"]
    assert dice.max() > 0.9
    assert dice.min() < 0.4
