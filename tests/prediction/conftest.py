import pytest
from finished_world import World


@pytest.fixture(scope="session")
def world():
    return World()
