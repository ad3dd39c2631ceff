import pytest
from pydantic import ValidationError

from vesselrl.hashes import digest
from vesselrl.parameters import Devices, ParameterModel, Teams, one_each


class Group(ParameterModel):
    devices: Devices = None
    teams: Teams = None


def test_devices_change_no_fingerprint():
    assert digest(Group(devices=[0, 1], teams=[[0, 1]])) == digest(Group())


@pytest.mark.parametrize(
    "wrong",
    [
        {"devices": []},
        {"devices": ["gpu"]},
        {"devices": [-1]},
        {"devices": [[0, 1]]},
        {"teams": [[]]},
        {"teams": [[[0]]]},
    ],
)
def test_what_names_no_device_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Group(**wrong)


def test_devices_that_stand_together_can_work_alone():
    assert one_each([[0, 1], 2, ["cpu"]]) == [0, 1, 2, "cpu"]
    assert one_each(None) is None
