import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.samples import (
    HELD_OUT,
    UNLABELLED,
    group_hashes,
    ids_of,
    known_groups,
    learning_pool,
    unlabelled_pool,
)

SPLIT = st.sampled_from(["train", "val", "test", "unlabelled"])


def table(*rows):
    return pd.DataFrame(rows, columns=["id", "group", "split"])


def test_what_is_unlabelled_may_be_learned_from_unless_its_patient_is_held_out():
    samples = table(
        ("n2", "new", "unlabelled"), ("n1", "new", "unlabelled"), ("t1", "taught", "train"),
        ("t2", "taught", "unlabelled"), ("v1", "chooses", "val"), ("v2", "chooses", "unlabelled"),
        ("e1", "measured", "test"), ("e2", "measured", "unlabelled"),
    )  # fmt: skip
    assert unlabelled_pool(samples) == ["n1", "n2", "t2"]


def test_without_unlabelled_images_the_pool_is_empty():
    samples = table(("a", "g", "train"), ("b", "h", "test"))
    assert unlabelled_pool(samples) == []
    assert learning_pool(samples) == ["a"]


@given(st.lists(st.tuples(st.integers(0, 5), SPLIT), max_size=20))
def test_no_patient_of_the_pool_is_held_out_and_no_other_image_is_missing(rows):
    samples = table(*((f"{i:02}", group, split) for i, (group, split) in enumerate(rows)))
    of_pool = samples[samples["id"].isin(unlabelled_pool(samples))]
    held_out = set(samples.loc[samples["id"].isin(ids_of(samples, *HELD_OUT)), "group"])
    assert held_out.isdisjoint(of_pool["group"])
    rest = samples[(samples["split"] == UNLABELLED) & ~samples["id"].isin(of_pool["id"])]
    assert set(rest["group"]) <= held_out


def test_groups_are_told_by_hashes_from_which_no_name_can_be_read():
    samples = table(("a", "Doe", "train"), ("b", "Doe", "train"), ("c", 12, "test"))
    hashes = group_hashes(samples, ["a", "b", "c"])
    assert len(hashes) == 2
    assert hashes == sorted(hashes)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in hashes)
    assert group_hashes(samples, ["c"]) == group_hashes(table(("x", "12", "val")), ["x"])


def test_projects_with_one_key_know_each_other_s_patients_and_nobody_else_does():
    patients = [f"patient {number}" for number in range(3)]

    def known_as(groups):
        return table(
            *((number, group, "test") for number, group in zip("012", groups, strict=True))
        )

    def under(key):
        return known_as(map(Pseudonyms(key).group, patients))

    weights = group_hashes(under(b"k" * 32), ["0", "1", "2"])
    assert known_groups(under(b"k" * 32), weights, *HELD_OUT) == 3
    assert known_groups(under(b"o" * 32), weights, *HELD_OUT) == 0
    assert known_groups(known_as(patients), weights, *HELD_OUT) == 0


def test_groups_of_validation_and_test_that_were_learned_from_are_counted():
    learned = group_hashes(table(("a", "g", "train"), ("b", "h", "train")), ["a", "b"])
    assert known_groups(table(("x", "g", "train"), ("y", "k", "test")), learned, *HELD_OUT) == 0
    both = table(("x", "g", "val"), ("y", "h", "test"), ("z", "h", "test"))
    assert known_groups(both, learned, *HELD_OUT) == 2
    assert known_groups(both, learned, "val") == 1
    assert known_groups(table(("x", "g", "test")), [], *HELD_OUT) == 0
