from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesselrl.annotations.parameters import SplitFractions, SplitLimits, SplitParameters
from vesselrl.annotations.splits import (
    group_files,
    obey_splits_file,
    share_warnings,
    split_groups,
    within_limits,
)
from vesselrl.errors import VesselrlError

FRACTIONS = SplitFractions(train=0.6, val=0.2, test=0.2)
GROUPS = st.sets(st.text(min_size=1, max_size=6), min_size=1, max_size=60)


def limits(train=None, val=None, test=None):
    return SplitLimits(train=train, val=val, test=test)


def frames(patients, per_patient=4):
    return [f"p{p:02d}_f{f}.png" for p in range(1, patients + 1) for f in range(1, per_patient + 1)]


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 1000))
def test_frames_of_one_patient_never_cross_splits(patients, per_patient, seed):
    files = frames(patients, per_patient)
    groups, _ = group_files(files, None, r"^(p\d+)_")
    split_of = split_groups(set(groups.values()), FRACTIONS, seed)
    sides = {(file[:3], split_of[groups[file]]) for file in files}
    assert len(sides) == patients


def test_twelve_patients_split_seven_three_two():
    split_of = split_groups({f"p{p:02d}" for p in range(1, 13)}, FRACTIONS, seed=42)
    assert Counter(split_of.values()) == {"train": 7, "val": 3, "test": 2}


@given(GROUPS, st.integers(0, 1000), st.randoms())
def test_splits_do_not_depend_on_the_order_of_groups(groups, seed, random):
    shuffled = sorted(groups)
    random.shuffle(shuffled)
    assert split_groups(shuffled, FRACTIONS, seed) == split_groups(groups, FRACTIONS, seed)


@settings(max_examples=300)
@given(GROUPS, st.text(min_size=7, max_size=7), st.integers(0, 1000))
def test_a_new_group_moves_at_most_one_other_across_each_boundary(groups, new, seed):
    before = split_groups(groups, FRACTIONS, seed)
    after = split_groups(groups | {new}, FRACTIONS, seed)
    moves = [(before[g], after[g]) for g in groups if before[g] != after[g]]
    assert sum("test" in move for move in moves) <= 1
    assert sum("train" in move for move in moves) <= 1


def test_a_new_group_among_many_moves_none():
    groups = {f"g{i}" for i in range(3000)}
    before, after = (split_groups(g, FRACTIONS, 1) for g in (groups, groups | {"new"}))
    assert all(before[group] == after[group] for group in groups)


@pytest.mark.parametrize("count", range(3, 40))
def test_from_three_groups_on_no_split_is_empty_and_shares_are_near(count):
    for seed in range(5):
        sizes = Counter(split_groups({f"g{i}" for i in range(count)}, FRACTIONS, seed).values())
        assert min(sizes[name] for name in ("train", "val", "test")) >= 1
        assert abs(sizes["train"] - 0.6 * count) <= max(1, 0.04 * count)


@pytest.mark.parametrize("count", [1, 2])
def test_few_groups_go_to_training_first_with_a_warning(count):
    files = [f"{i}.png" for i in range(count)]
    groups = dict(zip(files, files, strict=True))
    split_of = split_groups(files, FRACTIONS, seed=0)
    assert "train" in split_of.values()
    assert any("test split is empty" in w for w in share_warnings(split_of, groups, FRACTIONS))


def test_a_large_group_that_upsets_the_shares_is_warned_of():
    groups = {f"{i}.png": "big" if i < 90 else f"g{i}" for i in range(100)}
    by_group = split_groups(set(groups.values()), FRACTIONS, seed=3)
    split_of = {file: by_group[group] for file, group in groups.items()}
    assert any("do not divide" in w for w in share_warnings(split_of, groups, FRACTIONS))


def test_groups_json_goes_before_the_pattern():
    groups, warnings = group_files(
        ["p1_a.png", "p2_a.png"], {"p1_a.png": "x", "./p2_a.png": 7}, r"^(p\d+)_"
    )
    assert groups == {"p1_a.png": "x", "p2_a.png": "7"}
    assert not warnings


@pytest.mark.parametrize("pattern", [None, r"^(p\d+)_"])
def test_without_known_groups_each_image_is_one_with_a_warning(pattern):
    groups, (warning,) = group_files(["a.png", "b.png"], None, pattern)
    assert groups == {"a.png": "a.png", "b.png": "b.png"}
    assert "each image is its own group" in warning


def test_files_that_the_pattern_does_not_match_are_their_own_groups_with_a_warning():
    groups, (warning,) = group_files(["p1_a.png", "odd.png"], None, r"^(p\d+)_")
    assert groups == {"p1_a.png": "p1", "odd.png": "odd.png"}
    assert "no group for 1 of 2 images (odd.png)" in warning


def test_splits_json_is_obeyed():
    given = {"a.png": "test", "b.png": "train", "gone.png": "val"}
    assert obey_splits_file(given, {"a.png": "1", "b.png": "2"}) == (
        {"a.png": "test", "b.png": "train"},
        [],
    )


def test_an_image_that_splits_json_does_not_name_is_left_out_with_a_warning():
    split_of, (warning,) = obey_splits_file({"a.png": "train"}, {"a.png": "1", "b.png": "2"})
    assert split_of == {"a.png": "train"}
    assert "does not name 1 accepted images (b.png)" in warning


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"a.png": "train", "b.png": "test"}, "Group 'one' is on two sides of splits.json"),
        ({"a.png": "training", "b.png": "test"}, "a.png in 'training'; expected train, val, test"),
        ({"x.png": "train"}, "names none of the 2 accepted images"),
        (["a.png"], "splits.json does not map file names to splits"),
        ({"a.png": None}, "splits.json does not map file names to splits"),
    ],
)
def test_a_wrong_splits_json_is_told_in_a_sentence(given, sentence):
    with pytest.raises(VesselrlError, match=sentence):
        obey_splits_file(given, {"a.png": "one", "b.png": "one"})


def test_a_wrong_groups_json_is_told_in_a_sentence():
    with pytest.raises(VesselrlError, match=r"groups.json does not map file names to groups"):
        group_files(["a.png"], {"a.png": ["p1"]}, None)


def test_twenty_images_mean_twenty_and_only_one_group_is_cut_short():
    files = frames(patients=10, per_patient=6)
    groups = {file: file[:3] for file in files}
    kept = within_limits(dict.fromkeys(files, "train"), groups, limits(train=20), seed=42)
    assert len(kept) == 20
    assert sorted(Counter(groups[file] for file in kept).values()) == [2, 6, 6, 6]


def test_a_split_smaller_than_its_limit_stays_whole():
    split_of = {"a.png": "train", "b.png": "val", "c.png": "test"}
    assert within_limits(split_of, {f: f for f in split_of}, limits(20, 20, 20), 0) == [*split_of]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"group_pattern": "p("}, "not a regular expression"),
        ({"group_pattern": r"^p\d+"}, "expected one capture"),
        ({"fractions": {"train": 0.6, "val": 0.2, "test": 0.1}}, "sum to 0.9; expected 1"),
        ({"max_images": {"train": 0, "val": None, "test": None}}, "greater than 0"),
        ({"max_image": 3}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_parameters_are_refused(change, complaint):
    good = {
        "fractions": {"train": 0.6, "val": 0.2, "test": 0.2},
        "group_pattern": None,
        "max_images": {"train": None, "val": None, "test": None},
    }
    SplitParameters(**good)
    with pytest.raises(ValueError, match=complaint):
        SplitParameters(**{**good, **change})
