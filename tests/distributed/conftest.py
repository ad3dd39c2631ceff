"""One Ray on this machine for all tests, with room for two workers."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def cluster():
    """The module `ray`, connected to a cluster of two CPUs."""
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'vesselrl[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        # the workers import the functions of these tests
        paths = [str(HERE.parents[1] / "src"), str(HERE), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()
