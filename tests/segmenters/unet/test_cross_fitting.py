"""Folds by group, and honest maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.errors import VesselrlError
from vesselrl.networks.architecture import Architecture
from vesselrl.segmenters.levels import from_levels
from vesselrl.segmenters.unet.cross_fitting import deal_folds, folds_for_the_unseen, honest_maps
from vesselrl.segmenters.unet.network import SegmentationNetwork

GROUPS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=6),
    st.sampled_from([f"g{n}" for n in range(6)]),
    min_size=2,
    max_size=40,
).filter(lambda groups: len(set(groups.values())) > 1)


@given(groups=GROUPS, folds=st.integers(2, 7), seed=st.integers(0, 9))
def test_folds_keep_groups_together_are_all_used_and_differ_by_one_group_at_most(
    groups, folds, seed
):
    dealt = deal_folds(groups, folds, seed)
    assert dealt.keys() == groups.keys()
    folds_of_group = {group: {dealt[i] for i, g in groups.items() if g == group}
                      for group in groups.values()}  # fmt: skip
    assert all(len(of_group) == 1 for of_group in folds_of_group.values())
    used = set(dealt.values())
    assert used == set(range(min(folds, len(folds_of_group))))
    sizes = [list(dealt.values()).count(fold) for fold in used]
    largest = max(list(groups.values()).count(group) for group in folds_of_group)
    assert max(sizes) - min(sizes) <= largest


@given(groups=GROUPS, seed=st.integers(0, 9))
def test_folds_do_not_depend_on_the_order_of_the_images(groups, seed):
    backwards = dict(reversed(groups.items()))
    assert deal_folds(backwards, 3, seed) == deal_folds(groups, 3, seed)


def test_another_seed_deals_other_folds():
    groups = {str(n): str(n) for n in range(20)}
    assert deal_folds(groups, 4, 0) != deal_folds(groups, 4, 1)


def test_images_of_one_group_are_dealt_one_by_one_with_a_warning(caplog):
    dealt = deal_folds(dict.fromkeys("abcd", "g"), 2, 0)
    assert sorted(dealt.values()) == [0, 0, 1, 1]
    assert "flatters" in caplog.text


@pytest.mark.parametrize("images", ["", "a"])
def test_too_few_images_are_an_error_that_says_what_to_do(images):
    with pytest.raises(VesselrlError, match="at least 2"):
        deal_folds(dict.fromkeys(images, "g"), 2, 0)


def test_unseen_images_are_spread_over_the_folds():
    assert folds_for_the_unseen(["c", "a", "b"], 2) == {"a": 0, "b": 1, "c": 0}


def test_honest_maps_are_the_answers_of_each_stage_in_four_views():
    architecture = Architecture(1, (4,) * 6, 2)
    early, late = (
        SegmentationNetwork(architecture.build(seed).eval(), architecture, 96) for seed in (0, 1)
    )
    image = np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8)
    maps = honest_maps(image, 1, {5: early, 20: late})
    assert maps["levels"].shape == (8, 64, 96)
    assert maps["iterations"].tolist() == [5] * 4 + [20] * 4
    assert maps["flips"].tolist() == [0, 1, 2, 3] * 2
    assert maps["fold"] == 1
    seen = from_levels(maps["levels"])
    np.testing.assert_allclose(seen[0], early.probability(image), atol=1 / 500)
    np.testing.assert_allclose(seen[4:].mean(0), late.probability(image, flips=True), atol=1 / 500)
    mirrored = late.probability(image[::-1].copy())[::-1]
    np.testing.assert_allclose(seen[5], mirrored, atol=1 / 500)
