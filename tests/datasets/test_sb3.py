import base64
import io
import json
import os
import pickle
import time
import zipfile

import gymnasium
import numpy as np
import pytest
import torch
from kedro.io import DatasetError
from stable_baselines3 import PPO

from vesselrl.datasets.sb3 import Sb3ModelDataset
from vesselrl.errors import VesselrlError
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Observer
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.policy import Policy
from vesselrl.rl.ppo import SteppedPPO

ACTIONS = ActionSet.of(
    ["top", "bottom"],
    "bottom",
    ActionParameters(thresholds=[0.3, 0.7], operations={"grow": {"kind": "dilate"}}),
)
RULES = Rules(ACTIONS, "setting", 1)
RANDOM = np.random.default_rng(0)
OBSERVER = Observer.fit(RANDOM.normal(2, 3, (9, 16)).astype(np.float32), 1)


class Still(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-5, 5, (16,))
    action_space = gymnasium.spaces.MultiDiscrete(RULES.choices)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


def sees_and_chooses(model):
    of_observer = {"mean": OBSERVER.mean.tolist(), "scale": OBSERVER.scale.tolist()}
    return Policy.of(model, RULES, OBSERVER).settings() | of_observer


@pytest.fixture(scope="module")
def model():
    policy = {"net_arch": [8, 4]}
    model = SteppedPPO("MlpPolicy", Still(), policy_kwargs=policy, seed=1, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight *= 300  # so that an untrained policy has preferences
    model.deployment = sees_and_chooses(model)
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "final_model.zip"


@pytest.fixture
def file(path):
    return Sb3ModelDataset(filepath=str(path))


OBSERVATIONS = RANDOM.normal(size=(50, 16)).astype(np.float32)


def test_stable_baselines_reads_the_model_that_was_saved(file, model, path):
    assert not file.exists()
    file.save(model)
    assert file.exists()
    loaded = PPO.load(path, device="cpu")
    for observation in OBSERVATIONS:
        expected = model.predict(observation, deterministic=True)[0]
        assert loaded.predict(observation, deterministic=True)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("year", [1979, 2108])
def test_a_clock_that_no_zip_file_can_tell_is_told_in_a_sentence(
    file, model, path, monkeypatch, year
):
    file.save(model)
    saved = path.read_bytes()
    shown = time.struct_time((year, 1, 1, 0, 0, 0, 0, 1, 0))
    with monkeypatch.context() as clock:
        clock.setattr(time, "localtime", lambda seconds=None: shown)
        with pytest.raises(VesselrlError, match=f"clock shows {year}.*Set the clock and run again"):
            model.save(io.BytesIO())
        with pytest.raises(DatasetError, match="Set the clock"):
            file.save(model)
    assert [one.read_bytes() for one in path.parent.iterdir()] == [saved]


def test_the_policy_in_the_file_chooses_as_the_model_does(file, model):
    file.save(model)
    policy = file.load()
    chosen = [policy.choose(observation) for observation in OBSERVATIONS]
    assert chosen == [
        tuple(model.predict(observation, deterministic=True)[0]) for observation in OBSERVATIONS
    ]
    assert len(set(chosen)) > 1
    assert policy.rules == RULES
    np.testing.assert_array_equal(policy.observer.mean, OBSERVER.mean, strict=True)
    np.testing.assert_array_equal(policy.observer.scale, OBSERVER.scale, strict=True)


class Bomb:
    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return os.mkdir, (str(self.crater),)


def repack(path, **parts):
    """Put other parts into a model's file."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()} | parts
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def data_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("data"))


def refusal(file):
    with pytest.raises(DatasetError) as caught:
        file.load()
    assert isinstance(caught.value.__cause__, VesselrlError)
    return str(caught.value.__cause__)


def test_code_that_is_pickled_in_a_file_is_never_run(file, model, path, tmp_path):
    crater = tmp_path / "crater"
    bomb = pickle.dumps(Bomb(crater), 2)
    file.save(model)
    serialized = {":type:": "x", ":serialized:": base64.b64encode(bomb).decode()}
    repack(path, data=json.dumps(data_of(path) | {"policy_class": serialized}))
    assert file.load().rules == RULES
    assert not crater.exists()
    repack(path, **{"policy.pth": bomb})
    assert "cannot be read as a model" in refusal(file)
    assert not crater.exists()
    pickle.loads(bomb)  # it would have gone off
    assert crater.exists()


def gone(path):
    path.unlink()


def no_zip(path):
    path.write_bytes(b"PK, it says")


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.txt", "x")


def of_another_program(path):
    repack(path, data=json.dumps({"deployment": {}}))


def other_prompts(path):
    data = data_of(path)
    data["deployment"]["prompts"] = ["top", "middle", "bottom"]
    repack(path, data=json.dumps(data))


def other_features(path):
    data = data_of(path)
    data["deployment"]["mean"] = data["deployment"]["scale"] = [0.0] * 9
    repack(path, data=json.dumps(data))


def no_network(path):
    buffer = io.BytesIO()
    torch.save({}, buffer)
    repack(path, **{"policy.pth": buffer.getvalue()})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (gone, "does not exist"),
        (no_zip, "is not a zip file"),
        (cut, "is not a zip file"),
        (other_zip, "cannot be read as a model of Stable-Baselines3"),
        (of_another_program, "does not tell what its policy sees"),
        (other_prompts, "answers with 6 scores, but its settings list 7 options"),
        (other_features, "takes 16 values, but gets 9"),
        (no_network, "does not fit"),
    ],
)
def test_what_is_no_finished_policy_is_refused_in_a_sentence(file, model, path, damage, words):
    file.save(model)
    damage(path)
    sentence = refusal(file)
    assert words in sentence
    assert str(path) in sentence
    assert "expected final_model.zip" in sentence
