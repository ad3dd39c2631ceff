import pytest
from drawn_world import drawn_actions, drawn_outcomes

from vesselrl.rl.actions import ActionSet


@pytest.fixture
def actions() -> ActionSet:
    return drawn_actions()


@pytest.fixture
def outcomes_of():
    return drawn_outcomes
