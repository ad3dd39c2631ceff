import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from vesselrl.config_loader import ConfigLoader
from vesselrl.distributed.parameters import RayParameters
from vesselrl.distributed.spreading import map_on_workers
from vesselrl.errors import VesselrlError
from vesselrl.hashes import digest
from vesselrl.overlapping import Steps
from vesselrl.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[2]
TWO = RayParameters(num_workers=2, gpus_per_worker=0, address=None)
NONE = RayParameters(num_workers=0, gpus_per_worker=0, address=None)


class Adding(Steps):
    """Three steps of which each adds one, and the process they were done in."""

    def load(self, item):
        return item[1] + 1, os.getpid()

    def compute(self, loaded):
        return loaded[0] + 1, *loaded[1:], os.getpid()

    def store(self, computed):
        return computed[0] + 1, {*computed[1:], os.getpid()}


def test_without_workers_on_ray_the_work_is_done_in_this_process():
    for ray in (NONE, None):
        done = list(map_on_workers(Adding(), [("a", 1), ("b", 2)], None, ray))
        assert done == [(4, {os.getpid()}), (5, {os.getpid()})]


def test_on_a_device_all_steps_of_an_item_are_done_in_its_process():
    ((result, processes),) = map_on_workers(Adding(), [("a", 1)], ["cpu"], None)
    assert result == 4
    assert len(processes) == 1
    assert os.getpid() not in processes


@pytest.mark.parametrize(("env", "workers"), [("base", 0), ("ray", 2)])
def test_only_the_environment_ray_uses_ray_unasked(env, workers):
    loader = ConfigLoader(str(ROOT / "conf"), env, **CONFIG_LOADER_ARGS)
    found = RayParameters.model_validate(loader["parameters"]["ray"])
    assert (found.num_workers, found.gpus_per_worker, found.address) == (workers, 0, None)


def test_devices_and_ray_exclude_each_other():
    with pytest.raises(VesselrlError, match="segmenter.devices is \\['cpu'\\] and ray.num_workers"):
        map_on_workers(Adding(), [("a", 1)], ["cpu"], TWO)


def test_no_fingerprint_tells_how_the_work_was_spread():
    assert digest(TWO) == digest(NONE)


@pytest.mark.parametrize(
    "wrong", [{"num_workers": -1}, {"gpus_per_worker": 1.5}, {"num_worker": 2}, {"address": 3}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RayParameters(**{"num_workers": 1, "gpus_per_worker": 0, "address": None, **wrong})
