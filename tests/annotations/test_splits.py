from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.annotations.assignment import assign_groups
from vesselrl.annotations.parameters import SplitFractions, SplitLimits, SplitParameters
from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.annotations.splits import (
    group_files,
    obey_splits_file,
    share_warnings,
    side_of_groups,
    within_limits,
    without_look_alikes,
)
from vesselrl.errors import VesselrlError
from vesselrl.samples import HELD_OUT, unlabelled_pool

FRACTIONS = SplitFractions(train=0.6, val=0.2, test=0.2)
OPEN = Pseudonyms(None)


def limits(train=None, val=None, test=None, unlabelled=None):
    return SplitLimits(train=train, val=val, test=test, unlabelled=unlabelled)


def frames(patients, per_patient=4):
    return [f"p{p:02d}_f{f}.png" for p in range(1, patients + 1) for f in range(1, per_patient + 1)]


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 1000))
def test_frames_of_one_patient_never_cross_splits(patients, per_patient, seed):
    files = frames(patients, per_patient)
    groups, _ = group_files(files, None, r"^(p\d+)_", OPEN)
    split_of = assign_groups(dict.fromkeys(groups.values(), 0.1), FRACTIONS, seed, {})
    sides = {(file[:3], split_of[groups[file]]) for file in files}
    assert len(sides) == patients


@pytest.mark.parametrize("count", [1, 2])
def test_a_split_without_groups_is_warned_of(count):
    files = [f"{i}.png" for i in range(count)]
    groups = dict(zip(files, files, strict=True))
    split_of = assign_groups(dict.fromkeys(files, 0.1), FRACTIONS, 0, {})
    assert any("test split is empty" in w for w in share_warnings(split_of, groups, FRACTIONS))


def test_a_split_that_lost_its_groups_is_warned_of():
    groups = {name: name for name in "abcd"}
    (first, *_) = share_warnings(dict.fromkeys("abcd", "train"), groups, FRACTIONS)[1:]
    assert first.startswith("The val split is empty: none of the 4 groups is in it; to assign all")


def test_a_large_group_that_upsets_the_shares_is_warned_of():
    groups = {f"{i}.png": "big" if i < 90 else f"g{i}" for i in range(100)}
    by_group = assign_groups(dict.fromkeys(groups.values(), 0.1), FRACTIONS, 3, {})
    split_of = {file: by_group[group] for file, group in groups.items()}
    assert any("do not divide" in w for w in share_warnings(split_of, groups, FRACTIONS))


def test_groups_json_goes_before_the_pattern():
    groups, warnings = group_files(
        ["p1_a.png", "p2_a.png"], {"p1_a.png": "x", "./p2_a.png": 7}, r"^(p\d+)_", OPEN
    )
    assert groups == {"p1_a.png": "x", "p2_a.png": "7"}
    assert not warnings


@pytest.mark.parametrize("pattern", [None, r"^(p\d+)_"])
def test_without_known_groups_each_image_is_one_with_a_warning(pattern):
    groups, (warning,) = group_files(["a.png", "b.png"], None, pattern, OPEN)
    assert groups == {"a.png": "a.png", "b.png": "b.png"}
    assert "each image is its own group" in warning


def test_files_that_the_pattern_does_not_match_are_their_own_groups_with_a_warning():
    groups, (warning,) = group_files(["p1_a.png", "odd.png"], None, r"^(p\d+)_", OPEN)
    assert groups == {"p1_a.png": "p1", "odd.png": "odd.png"}
    assert "no group for 1 of 2 images (odd.png)" in warning


def test_a_groups_json_that_names_none_of_the_images_stops_the_run():
    with pytest.raises(
        VesselrlError, match=r"names none of the 2 accepted images \(such as a.png\)"
    ):
        group_files(["a.png", "b.png"], {"a": "x", "b": "x"}, r"^(\w)", OPEN)


def test_a_groups_json_that_misses_an_image_leaves_it_a_group_of_its_own_with_a_warning():
    groups, (warning,) = group_files(["a.png", "b.png"], {"a.png": "x"}, None, OPEN)
    assert groups == {"a.png": "x", "b.png": "b.png"}
    assert warning.startswith("groups.json tells no group for 1 of 2 images (b.png)")


def test_a_patient_spelt_in_two_ways_is_one_group_with_a_warning():
    given = {"a.png": "Patient 1", "b.png": "patient  1 ", "c.png": "patient 11"}
    groups, (warning,) = group_files(list(given), given, None, OPEN)
    assert groups["a.png"] == groups["b.png"] != groups["c.png"]
    assert "spells groups in several ways (Patient 1)" in warning
    groups, _ = group_files(["P1_a.png", "p1_b.png"], None, r"^([Pp]\d+)_", OPEN)
    assert len(set(groups.values())) == 1


def test_splits_json_is_obeyed():
    given = {"a.png": "test", "b.png": "train", "gone.png": "val"}
    assert obey_splits_file(given, {"a.png": "1", "b.png": "2"}, ["a.png", "b.png"]) == (
        {"a.png": "test", "b.png": "train"},
        [],
    )


def test_an_image_that_splits_json_does_not_name_is_left_out_with_a_warning():
    groups = {"a.png": "1", "b.png": "2"}
    split_of, (warning,) = obey_splits_file({"a.png": "train"}, groups, groups)
    assert split_of == {"a.png": "train"}
    assert "does not name 1 accepted images (b.png)" in warning


def obeyed(given, labelled=(), **group_of):
    """What becomes of files, named by letters, of the groups given."""
    groups = {file: str(group) for file, group in group_of.items()}
    return obey_splits_file(given, groups, labelled)


def test_splits_json_may_set_labels_aside_even_of_some_images_of_a_group():
    given = {"a": "train", "b": "unlabelled", "c": "test", "d": "unlabelled"}
    assert obeyed(given, "abcd", a=1, b=1, c=2, d=2) == (given, [])


def test_an_image_without_label_is_unlabelled_wherever_splits_json_puts_it_or_not():
    given = {"a": "train", "b": "train", "c": "test", "d": "test"}
    split_of, warnings = obeyed(given, "ac", a=1, b=1, c=2, d=2, e=3)
    assert split_of == {**given, "b": "unlabelled", "d": "unlabelled", "e": "unlabelled"}
    assert not warnings


@pytest.mark.parametrize("side", ["val", "test"])
def test_nothing_is_learned_from_a_group_held_out_without_a_label(side):
    split_of, (warning,) = obeyed({"a": "train", "b": side}, "a", a=1, b=2, c=2, d=3)
    assert split_of == {"a": "train", "d": "unlabelled"}
    assert "(2): their 2 images are left out" in warning


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans(), st.booleans()), min_size=1),
    st.lists(st.sampled_from(["train", "val", "test"]), min_size=5, max_size=5),
)
def test_whatever_splits_json_names_no_group_held_out_is_learned_from(images, sides):
    groups = {str(number): f"g{group}" for number, (group, *_) in enumerate(images)}
    given, labelled = {"elsewhere": "train", "0": sides[images[0][0]]}, set()
    for number, (group, has_label, named, aside) in enumerate(images):
        if named:
            given[str(number)] = "unlabelled" if aside else sides[group]
        if has_label:
            labelled.add(str(number))
    split_of, _ = obey_splits_file(given, groups, labelled)
    assert all(split_of[file] == given[file] for file in split_of if file in labelled)
    assert {split_of[file] for file in split_of if file not in labelled} <= {"unlabelled"}
    rows = [(file, groups[file], split) for file, split in split_of.items()]
    pool = unlabelled_pool(pd.DataFrame(rows, columns=["id", "group", "split"]))
    held_out = {groups[f] for f, side in given.items() if side in HELD_OUT}
    assert held_out.isdisjoint(groups[file] for file in pool)


def test_images_without_label_put_a_group_on_two_sides_like_any_other():
    with pytest.raises(VesselrlError, match="Group '1' is on two sides"):
        obeyed({"a": "train", "b": "test"}, "a", a=1, b=1)


def test_a_group_is_on_the_side_of_its_labelled_images():
    groups = dict(zip("abcd", "1123", strict=True))
    splits = {"a": "unlabelled", "b": "test", "c": "unlabelled", "d": "train"}
    assert side_of_groups(splits, groups) == {"1": "test", "2": "unlabelled", "3": "train"}
    backwards = dict(reversed(splits.items()))
    assert side_of_groups(backwards, groups) == side_of_groups(splits, groups)


def test_unlabelled_images_that_look_like_held_out_ones_are_left_out_with_a_warning():
    groups = {file: file.upper() for file in "abcdefg"}
    splits = dict.fromkeys("abcdefg", "unlabelled") | {"a": "train", "b": "val", "e": "test"}
    splits["g"] = "test"
    together = [{"A", "C"}, {"B", "D", "X"}, {"F", "E", "G"}]
    kept, (warning,) = without_look_alikes(splits, groups, together)
    assert "".join(kept) == "abceg"
    assert warning.startswith("2 images without labels (d, f) look like images of val or test")
    assert without_look_alikes(splits, groups, []) == (splits, [])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"a.png": "train", "b.png": "test"}, "Group 'one' is on two sides of splits.json"),
        (
            {"a.png": "training", "b.png": "test"},
            "a.png in 'training'; expected train, val, test, unlab",
        ),
        ({"x.png": "train"}, "names none of the 2 accepted images"),
        (["a.png"], "splits.json does not map file names to splits"),
        ({"a.png": None}, "splits.json does not map file names to splits"),
    ],
)
def test_a_wrong_splits_json_is_told_in_a_sentence(given, sentence):
    with pytest.raises(VesselrlError, match=sentence):
        obey_splits_file(given, {"a.png": "one", "b.png": "one"}, ["a.png", "b.png"])


def test_a_wrong_groups_json_is_told_in_a_sentence():
    with pytest.raises(VesselrlError, match=r"groups.json does not map file names to groups"):
        group_files(["a.png"], {"a.png": ["p1"]}, None, OPEN)


def test_twenty_images_mean_twenty_and_only_one_group_is_cut_short():
    files = frames(patients=10, per_patient=6)
    groups = {file: file[:3] for file in files}
    kept = within_limits(dict.fromkeys(files, "train"), groups, limits(train=20), seed=42)
    assert len(kept) == 20
    assert sorted(Counter(groups[file] for file in kept).values()) == [2, 6, 6, 6]


def test_a_split_smaller_than_its_limit_stays_whole():
    split_of = {"a.png": "train", "b.png": "val", "c.png": "test"}
    assert within_limits(split_of, {f: f for f in split_of}, limits(20, 20, 20), 0) == [*split_of]


def test_a_limit_is_not_spent_on_unlabelled_images_that_nothing_may_learn_from():
    files = frames(patients=10, per_patient=4)
    groups = {file: file[:3] for file in files}
    splits = {file: "test" if file.endswith("f1.png") and file < "p06" else "unlabelled"
              for file in files}  # fmt: skip
    kept = within_limits(splits, groups, limits(unlabelled=20), seed=42)
    unlabelled = [file for file in kept if splits[file] == "unlabelled"]
    assert unlabelled == [file for file in files if file > "p06"]
    assert len(kept) == 25


def test_a_limit_on_test_images_makes_no_unlabelled_image_of_a_test_patient_one_to_learn_from():
    groups = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c": "c"}
    splits = dict.fromkeys(groups, "unlabelled") | {"a1": "test", "b1": "test"}
    kept = within_limits(splits, groups, limits(test=1), seed=42)
    assert kept in (["a1", "a2", "c"], ["b1", "b2", "c"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"group_pattern": "p("}, "not a regular expression"),
        ({"group_pattern": r"^p\d+"}, "expected one capture"),
        ({"fractions": {"train": 0.6, "val": 0.2, "test": 0.1}}, "sum to 0.9; expected 1"),
        (
            {"max_images": {"train": 0, "val": None, "test": None, "unlabelled": None}},
            "greater than 0",
        ),
        ({"near_duplicate_bits": 32}, "less than or equal to 31"),
        ({"on_leak": "ignore"}, "'warn', 'move' or 'stop'"),
        ({"max_image": 3}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_parameters_are_refused(change, complaint):
    good = {
        "fractions": {"train": 0.6, "val": 0.2, "test": 0.2},
        "group_pattern": None,
        "max_images": {"train": None, "val": None, "test": None, "unlabelled": None},
        "near_duplicate_bits": 24,
        "on_leak": "warn",
    }
    SplitParameters(**good)
    with pytest.raises(ValueError, match=complaint):
        SplitParameters(**{**good, **change})


def test_the_pattern_is_tried_on_the_file_s_name_whatever_folder_it_is_in():
    groups, warnings = group_files(["a/p01_f1.png", "b/p01_f2.png"], None, r"^(p\d+)_", OPEN)
    assert set(groups.values()) == {"p01"}
    assert warnings == []
