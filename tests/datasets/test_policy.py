import json
from itertools import pairwise
from math import prod

import numpy as np
import pytest
from kedro.io import DatasetError

from vesselrl.datasets.policy import PolicyDataset
from vesselrl.errors import VesselrlError
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Observer
from vesselrl.rl.parameters import ActionParameters, ExperimentParameters
from vesselrl.rl.policy import Policy


def observer(length, observations):
    features = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    return Observer.fit(features, length, observations)


KINDS = {
    "setting": ("setting", 1, False, "handmade"),
    "prompts": ("prompts", 3, False, "reward_network"),
    "operations": ("operations", 2, False, "handmade"),
    "joint": ("setting", 1, True, "reward_network"),
}


@pytest.fixture(params=KINDS)
def policy(request):
    chooses, length, joint, observations = KINDS[request.param]
    operations = {"grow": {"kind": "dilate", "radius": 3}, "hystérèse": {"kind": "hysteresis"}}
    actions = ActionSet.of(
        ["top", "bottom"], "bottom", ActionParameters(thresholds=[0.5, 0.9], operations=operations)
    )
    experiment = ExperimentParameters(chooses=chooses, episode_length=length, reward="ground_truth")
    rules, sees = Rules.of(actions, experiment), observer(length, observations)
    random = np.random.default_rng(1)
    sizes = [sees.size, 8, prod(rules.choices) if joint else sum(rules.choices)]
    weights = {"mean": sees.mean, "scale": sees.scale}
    for number, (inner, outer) in enumerate(pairwise(sizes)):
        # transposed, as torch hands some out: not contiguous in memory
        weights[f"layer.{number}.weight"] = random.normal(size=(inner, outer)).astype("f4").T
        weights[f"layer.{number}.bias"] = random.normal(size=outer).astype("f4")
    return Policy(rules, sees, weights, joint)


@pytest.fixture
def file(tmp_path):
    return PolicyDataset(filepath=str(tmp_path / "deep" / "policy.safetensors"))


def test_a_policy_comes_back_as_it_was(policy, file):
    file.save(policy)
    loaded = file.load()
    assert file.exists()
    assert loaded.rules == policy.rules
    assert loaded.joint == policy.joint
    assert loaded.observer.observations == policy.observer.observations
    assert loaded.settings() == policy.settings()
    assert loaded.weights.keys() == policy.weights.keys()
    for name, weight in policy.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], weight, strict=True)


def test_a_loaded_policy_chooses_as_the_saved_one_did(policy, file):
    file.save(policy)
    loaded = file.load()
    random = np.random.default_rng(2)
    seen = random.normal(size=(100, policy.observer.size)).astype(np.float32)
    choices = [policy.choose(one) for one in seen]
    assert [loaded.choose(one) for one in seen] == choices
    assert len(set(choices)) > 1


def cut(weights, settings):
    weights.write_bytes(weights.read_bytes()[:-9])


def garble(weights, settings):
    weights.write_bytes(b"no safetensors")


def no_json(weights, settings):
    settings.write_text("{")


def key_gone(weights, settings):
    settings.write_text(json.dumps({"chooses": "setting"}))


def of_other_actions(weights, settings):
    known = json.loads(settings.read_text())
    settings.write_text(json.dumps(known | {"thresholds": [0.1, 0.2, 0.3]}))


def of_other_observations(weights, settings):
    known = json.loads(settings.read_text())
    settings.write_text(json.dumps(known | {"observations": "tea leaves"}))


def of_whole_actions(weights, settings):
    known = json.loads(settings.read_text())
    settings.write_text(json.dumps(known | {"joint": not known["joint"]}))


DAMAGES = [
    cut, garble, no_json, key_gone, of_other_actions, of_other_observations, of_whole_actions,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("policy", ["setting", "joint"], indirect=True)
def test_a_damaged_policy_is_refused_in_a_sentence(policy, file, tmp_path, damage):
    file.save(policy)
    damage(tmp_path / "deep/policy.safetensors", tmp_path / "deep/policy.json")
    with pytest.raises(DatasetError) as caught:
        file.load()
    assert isinstance(caught.value.__cause__, VesselrlError)
    assert "policy.safetensors" in str(caught.value.__cause__)
    assert "train it again" in str(caught.value.__cause__)


@pytest.mark.parametrize("gone", ["policy.safetensors", "policy.json"])
def test_a_policy_exists_with_both_its_files_only(policy, file, tmp_path, gone):
    assert not file.exists()
    file.save(policy)
    (tmp_path / "deep" / gone).unlink()
    assert not file.exists()


def test_kedro_viz_shows_what_a_policy_chooses_from(policy, file):
    file.save(policy)
    assert json.loads(file.preview())["prompts"] == ["top", "bottom"]
