import gymnasium
import pytest
from kedro.io import DatasetError
from stable_baselines3 import PPO

from vesselrl.datasets.sb3 import Sb3ModelDataset


class Still(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (2,))
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


@pytest.fixture(scope="module")
def model():
    return PPO("MlpPolicy", Still(), policy_kwargs={"net_arch": [4]}, seed=1, device="cpu")


@pytest.fixture
def file(tmp_path):
    return Sb3ModelDataset(filepath=str(tmp_path / "deep" / "final_model.zip"))


def test_stable_baselines_reads_the_model_that_was_saved(file, model, tmp_path):
    assert not file.exists()
    file.save(model)
    assert file.exists()
    loaded = PPO.load(tmp_path / "deep" / "final_model.zip", device="cpu")
    for observation in ([0, 0], [1, 0], [0.5, 0.9]):
        assert (
            loaded.predict(observation, deterministic=True)[0]
            == (model.predict(observation, deterministic=True)[0])
        )


def test_pickled_objects_are_not_loaded(file, model):
    file.save(model)
    with pytest.raises(DatasetError, match=r"holds pickled objects .* use policy.safetensors"):
        file.load()
