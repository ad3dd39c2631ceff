import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesselrl.annotations.assignment import SPLITS, assign_groups, remembered, stored
from vesselrl.annotations.parameters import SplitFractions
from vesselrl.errors import VesselrlError

FRACTIONS = SplitFractions(train=0.6, val=0.2, test=0.2)
GROUPS = st.dictionaries(st.text(max_size=6), st.floats(0, 1), min_size=1, max_size=60)
SEEDS = st.integers(0, 1000)


@st.composite
def any_fractions(draw):
    parts = [draw(st.integers(1, 98)), draw(st.integers(0, 98)), draw(st.integers(0, 98))]
    train, val = parts[0] / sum(parts), parts[1] / sum(parts)
    return SplitFractions(train=train, val=val, test=max(0.0, 1 - train - val))


def through_a_file(assigned, earlier, fractions, seed):
    """What the next run takes from the file that this one leaves."""
    text = json.dumps(stored(assigned, earlier, fractions, seed, False))
    known, warnings = remembered(json.loads(text), fractions, seed, False)
    assert not warnings
    return known


@settings(max_examples=300, deadline=None)
@given(st.lists(GROUPS, min_size=2, max_size=6), any_fractions(), SEEDS)
def test_whatever_is_added_in_whatever_order_no_group_ever_moves(arrivals, fractions, seed):
    present, earlier = {}, {}
    for arriving in arrivals:
        present.update(arriving)  # new groups, and old ones with images that change their fraction
        split_of = assign_groups(present, fractions, seed, earlier)
        assert {group: split_of[group] for group in earlier} == earlier
        earlier = through_a_file(split_of, earlier, fractions, seed)


@given(GROUPS, GROUPS, SEEDS)
def test_a_group_that_was_away_comes_back_where_it_was(first, second, seed):
    before = assign_groups(first, FRACTIONS, seed, {})
    earlier = through_a_file(before, {}, FRACTIONS, seed)
    between = assign_groups(second, FRACTIONS, seed, earlier)
    earlier = through_a_file(between, earlier, FRACTIONS, seed)
    after = assign_groups({**second, **first}, FRACTIONS, seed, earlier)
    assert {group: after[group] for group in first} == before


@given(GROUPS, any_fractions(), SEEDS)
def test_each_split_has_its_fraction_to_within_one_group(groups, fractions, seed):
    sizes = Counter(assign_groups(groups, fractions, seed, {}).values())
    wanted = {name: getattr(fractions, name) * len(groups) for name in SPLITS}
    asked = [name for name in SPLITS if wanted[name] > 0]
    if len(groups) >= len(SPLITS):
        assert all(sizes[name] for name in asked)
    # One group in an otherwise empty split may have to come from another.
    lent = sum(max(0, 1 - wanted[name]) for name in asked)
    for name in SPLITS:
        assert abs(sizes[name] - wanted[name]) < 1 + lent


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), SEEDS)
def test_the_fractions_hold_as_groups_arrive(arrivals, seed):
    earlier, total = {}, 0
    for count in arrivals:
        total += count
        groups = {f"g{number}": number % 7 / 10 for number in range(total)}
        earlier = assign_groups(groups, FRACTIONS, seed, earlier)
        for name, size in Counter(earlier.values()).items():
            assert abs(size - getattr(FRACTIONS, name) * total) <= 1.4


@given(GROUPS, SEEDS, st.randoms())
def test_splits_do_not_depend_on_the_order_of_groups(groups, seed, random):
    shuffled = list(groups.items())
    random.shuffle(shuffled)
    assert assign_groups(dict(shuffled), FRACTIONS, seed, {}) == assign_groups(
        groups, FRACTIONS, seed, {}
    )


def test_twelve_patients_split_seven_three_two():
    split_of = assign_groups({f"p{p:02d}": p / 100 for p in range(1, 13)}, FRACTIONS, 42, {})
    assert Counter(split_of.values()) == {"train": 7, "val": 3, "test": 2}


def test_another_seed_is_another_split():
    groups = {f"g{i}": i / 40 for i in range(40)}
    assert len({str(assign_groups(groups, FRACTIONS, seed, {})) for seed in range(10)}) == 10


@pytest.mark.parametrize(("count", "least"), [(12, 1.2), (40, 1.6), (200, 1.6)])
def test_splits_have_alike_vessel_fractions(count, least):
    random = np.random.default_rng(count)
    groups = {f"g{i}": random.lognormal(-3, 0.6) for i in range(count)}
    values = np.array(list(groups.values()))
    spread = {"stratified": [], "by chance": []}
    for seed in range(60):
        split_of = np.array(list(assign_groups(groups, FRACTIONS, seed, {}).values()))
        for name, sides in (("stratified", split_of), ("by chance", random.permutation(split_of))):
            spread[name].append(values[sides == "test"].mean() - values[sides == "train"].mean())
    assert np.std(spread["by chance"]) > least * np.std(spread["stratified"])


def test_groups_that_must_be_together_are():
    groups = {f"g{i}": 0.1 for i in range(30)}
    together = [{"g1", "g2", "g9"}, {"g4", "g5"}, {"gone", "g7"}]
    for seed in range(20):
        split_of = assign_groups(groups, FRACTIONS, seed, {}, together)
        assert set(split_of) == set(groups)
        assert len({split_of[group] for group in ("g1", "g2", "g9")}) == 1
        assert split_of["g4"] == split_of["g5"]


def test_a_new_group_follows_the_old_one_that_it_must_be_with():
    earlier = {"a": "train", "b": "val", "c": "test"}
    groups = dict.fromkeys("abcd", 0.1)
    assert assign_groups(groups, FRACTIONS, 1, earlier, [{"c", "d"}]) == {**earlier, "d": "test"}


def test_old_groups_tied_across_splits_go_where_most_are_and_stay_there():
    earlier = {"a": "train", "b": "test", "c": "test", "d": "val", "e": "val", "f": "train"}
    groups = dict.fromkeys("abcdef", 0.1)
    together = [{"a", "b", "c"}, {"d", "f"}]
    moved = assign_groups(groups, FRACTIONS, 1, earlier, together)
    assert moved == {**earlier, "a": "test", "d": "train"}
    assert assign_groups(groups, FRACTIONS, 1, moved, together) == moved


def test_moving_ties_empties_no_split():
    old = assign_groups({f"g{i:02}": 0.1 for i in range(12)}, FRACTIONS, 1, {})
    groups = dict.fromkeys([*old, *(f"h{i:02}" for i in range(12))], 0.1)
    earlier = assign_groups(groups, FRACTIONS, 1, old)
    moved = assign_groups(
        groups, FRACTIONS, 1, earlier, [(f"g{i:02}", f"h{i:02}") for i in range(12)]
    )
    assert min(Counter(moved.values())[name] for name in SPLITS) >= 4


@pytest.mark.parametrize(
    ("seed", "pseudonymise", "said"),
    [(2, False, "because seed changed"), (2, True, "seed and pseudonymise changed")],
)
def test_other_settings_assign_all_groups_anew_with_a_warning(seed, pseudonymise, said):
    left = stored({"a": "val"}, {}, FRACTIONS, 1, False)
    known, (warning,) = remembered(left, FRACTIONS, seed, pseudonymise)
    assert known == {}
    assert said in warning


def test_the_first_run_remembers_nothing():
    assert remembered(None, FRACTIONS, 1, False) == ({}, [])


@pytest.mark.parametrize("damaged", [[], {}, {"groups": ["a"]}, {"groups": {"a": "training"}}])
def test_a_damaged_memory_stops_rather_than_moving_groups_unseen(damaged):
    with pytest.raises(VesselrlError, match="restore it, or delete it to assign all groups anew"):
        remembered(damaged, FRACTIONS, 1, False)
