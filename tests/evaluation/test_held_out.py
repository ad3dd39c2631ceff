import pandas as pd
import pytest

from vesselrl.errors import VesselrlError
from vesselrl.evaluation.held_out import held_out


def samples(**split_of_group):
    rows = [
        (f"{group}{number}", group, split)
        for group, splits in split_of_group.items()
        for number, split in enumerate(splits.split())
    ]
    return pd.DataFrame(rows, columns=["id", "group", "split"])


def test_methods_are_compared_on_the_test_images():
    assert held_out(samples(p="train train", q="val", r="test test")) == ["r0", "r1"]


def test_unlabelled_images_of_a_test_patient_do_not_stop_the_comparison():
    known = samples(p="train", q="val", r="test unlabelled", s="unlabelled")
    assert held_out(known) == ["r0"]


@pytest.mark.parametrize("other", ["train", "val"])
def test_a_patient_in_the_test_split_and_another_is_refused_by_name(other):
    leaking = samples(p="train", q="val", r=f"test {other}", s="test")
    with pytest.raises(VesselrlError, match=rf"share .* images of {other} \(r; 1 in all\)"):
        held_out(leaking)
