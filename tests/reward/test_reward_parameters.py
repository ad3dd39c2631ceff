import pytest
from pydantic import ValidationError


@pytest.mark.parametrize(("patch", "downscale"), [(100, 2), (96, 4), (72, 1)])
def test_crops_that_the_network_cannot_halve_are_refused(reward_parameters, patch, downscale):
    changed = reward_parameters.training.model_dump() | {"patch": patch, "downscale": downscale}
    with pytest.raises(ValidationError, match=f"multiple of {16 * downscale}"):
        type(reward_parameters.training)(**changed)


def test_crops_that_fit_are_taken(reward_parameters):
    changed = reward_parameters.training.model_dump() | {"patch": 128, "downscale": 4}
    assert type(reward_parameters.training)(**changed).architecture.stride == 64


def test_scalar_judges_narrower_than_every_cpu_can_train_are_refused(reward_parameters):
    changed = reward_parameters.scalar.model_dump() | {"channels": [4, 8, 8, 8]}
    with pytest.raises(ValidationError, match="greater than or equal to 8"):
        type(reward_parameters.scalar)(**changed)
