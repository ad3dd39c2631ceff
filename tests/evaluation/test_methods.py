from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from pydantic import ValidationError

from vesselrl.errors import VesselrlError
from vesselrl.evaluation.methods import (
    POSTERIOR,
    Case,
    check_choices,
    deciders,
    decode_state,
    describe,
    draw,
)
from vesselrl.evaluation.parameters import Method
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Observer, image_features
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.policy import Policy

ACTIONS = ActionSet.of(
    ["a", "b", "c"],
    "b",
    ActionParameters(thresholds=[0.25, 0.5], operations={"dilate": {"kind": "dilate"}}),
)
SETTINGS = ACTIONS.settings
BEST_PREDICTED, BEST_TRUE, STATIC = 3, 7, 5


class Larger:
    """The larger a mask, the more it is taken to find."""

    def scores(self, masks, opinions):
        return {"recall": masks.mean((1, 2)), "dice": -masks.mean((1, 2))}


class Network:
    """A reward network that sees one number in an image, its brightness."""

    scoring = Larger()

    def image_features(self, image):
        return np.float32([image.mean() / 255])

    def opinions(self, image, candidate):
        self.asked = candidate
        return candidate[None]


@pytest.fixture
def case() -> Case:
    rng = np.random.default_rng(0)
    predicted, true = np.zeros(len(SETTINGS)), np.zeros(len(SETTINGS))
    predicted[BEST_PREDICTED] = true[BEST_TRUE] = 1
    image = rng.integers(0, 255, (24, 24), np.uint8)
    maps = rng.random((3, 24, 24), dtype=np.float32)
    return Case(
        "x", image, partial(image_features, image), maps, Network(), lambda: predicted, lambda: true
    )


def decide(kind, case, policies=None, **settings):
    return {
        seed: choose(case)
        for seed, choose in deciders(
            Method(kind=kind, **settings), ACTIONS, STATIC, policies or {}, ["recall"], seed=9
        ).items()
    }


def constant_policy(chooses: str, length: int, choice: int) -> Policy:
    """A policy without hidden layers that always prefers one option."""
    rules = Rules(ACTIONS, chooses, length)
    observer = Observer(np.zeros(16, np.float32), np.ones(16, np.float32), length)
    bias = np.zeros(sum(rules.choices), np.float32)
    bias[choice] = 1
    weights = {
        "mean": observer.mean,
        "scale": observer.scale,
        "layer.0.weight": np.zeros((len(bias), observer.size), np.float32),
        "layer.0.bias": bias,
    }
    return Policy(rules, observer, weights)


@pytest.mark.parametrize(
    ("kind", "setting", "calls"),
    [("static", STATIC, 1), ("best_of_n", BEST_PREDICTED, 3), ("oracle", BEST_TRUE, 3)],
)
def test_each_method_looks_where_it_may_and_pays_for_its_prompts(case, kind, setting, calls):
    (decision,) = decide(kind, case).values()
    assert decision.state == (tuple(SETTINGS[setting]),)
    assert decision.calls == calls


def test_the_default_is_the_default_prompt_at_half(case):
    (decision,) = decide("default", case).values()
    mask, map_ = draw(decision.chooses, decision.state, case.probabilities, ACTIONS, posterior=None)
    assert np.array_equal(map_, case.probabilities[1])
    assert np.array_equal(mask, map_ > 0.5)
    assert decision.calls == 1
    assert describe(decision, ACTIONS) == {"prompt": "b", "threshold": 0.5, "operations": "keep"}


def test_random_draws_anew_for_each_repeat_and_the_same_for_each_image(case):
    first, second = decide("random", case, repeats=20), decide("random", case, repeats=20)
    assert first == second
    assert list(first) == list(range(9, 29))
    assert len({decision.state for decision in first.values()}) > 5


def test_the_posterior_asks_all_prompts_and_is_the_networks_own_map(case):
    (decision,) = decide("posterior", case).values()
    own = np.linspace(0, 1, 24 * 24, dtype=np.float32).reshape(24, 24)
    mask, map_ = draw(decision.chooses, decision.state, case.probabilities, ACTIONS, lambda: own)
    assert decision.chooses == POSTERIOR
    assert decision.calls == 3
    assert map_ is own
    assert np.array_equal(mask, own > 0.5)


def test_a_policy_that_sees_the_mask_pays_for_the_default_prompt_too(case):
    one_step = decide("policy", case, {1: constant_policy("prompts", 1, 0)}, experiment="prompt_rl")
    assert one_step[1].calls == 1
    two_steps = decide(
        "policy", case, {1: constant_policy("prompts", 2, 0)}, experiment="prompt_rl"
    )
    assert two_steps[1].state == ((0,), (0,))
    assert two_steps[1].calls == 2
    operations = decide(
        "policy", case, {1: constant_policy("operations", 2, 1)}, experiment="postprocess_rl"
    )
    assert operations[1].calls == 1


def regressor(observations: str, features: int) -> Policy:
    """Prefers setting 4 of bright images, 11 of dark ones."""
    observer = Observer(
        np.full(features, 0.5, np.float32), np.ones(features, np.float32), 1, observations
    )
    weight = np.zeros((len(SETTINGS), features), np.float32)
    weight[4, 0], weight[11, 0] = 1, -1
    bias = np.zeros(len(SETTINGS), np.float32)
    weights = {
        "mean": observer.mean, "scale": observer.scale,
        "layer.0.weight": weight, "layer.0.bias": bias,
    }  # fmt: skip
    return Policy(Rules(ACTIONS, "setting", 1), observer, weights, joint=True)


@pytest.mark.parametrize(("observations", "features"), [("handmade", 16), ("reward_network", 1)])
@pytest.mark.parametrize(("brightness", "setting"), [(200, 4), (30, 11)])
def test_a_regressor_takes_the_setting_of_the_highest_prediction_for_one_call(
    case, observations, features, brightness, setting
):
    image = np.full((24, 24), brightness, np.uint8)
    case = replace(case, image=image, handmade=partial(image_features, image))
    policies = {9: regressor(observations, features)}
    (decision,) = decide("regressor", case, policies, experiment="regressor").values()
    assert decision.state == (tuple(SETTINGS[setting]),)
    assert decision.calls == 1


def test_a_policy_that_sees_by_hand_asks_nothing_of_the_reward_network(case):
    case = replace(case, network=None)
    (decision,) = decide(
        "policy", case, {1: constant_policy("prompts", 1, 0)}, experiment="prompt_rl"
    ).values()
    assert decision.state == ((0,),)


def test_an_experiment_that_was_not_run_decides_nothing(case):
    assert decide("policy", case, {}, experiment="reward_rl") == {}
    assert decide("regressor", case, {}, experiment="regressor_true") == {}


def test_best_of_one_asks_one_prompt_and_judges_its_masks_by_the_objective(case):
    decision = decide("best_of_one", case)[9]
    prompt = SETTINGS[STATIC].prompt
    assert decision.calls == 1
    assert np.array_equal(case.network.asked, case.probabilities[prompt])
    largest = max(
        (setting for setting in SETTINGS if setting.prompt == prompt),
        key=lambda setting: ACTIONS.setting_mask(case.probabilities, setting).sum(),
    )
    assert decision.state == (tuple(largest),)


@pytest.mark.parametrize("kind", ["default", "static", "random", "best_of_n", "oracle"])
def test_a_decision_survives_being_written_down(case, kind):
    for decision in decide(kind, case).values():
        assert decode_state(decision.encoded()) == decision.state


def test_a_policy_needs_a_known_experiment():
    with pytest.raises(ValidationError, match="prompt_rl, postprocess_rl, reward_rl"):
        Method(kind="policy")
    with pytest.raises(ValidationError, match="'alchemy'"):
        Method(kind="policy", experiment="alchemy")
    with pytest.raises(ValidationError, match="a regressor needs.*regressor, regressor_true"):
        Method(kind="regressor", experiment="reward_rl")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kind": "imported"}, "needs 'path'"),
        ({"kind": "imported", "path": ""}, "at least 1 character"),
        ({"kind": "static", "path": "/x"}, "only imported and policy methods have one"),
        ({"kind": "policy", "path": "/x", "experiment": "reward_rl"}, "both 'experiment' and"),
        ({"kind": "static", "seconds": 1}, "only those of imported methods"),
        ({"kind": "imported", "path": "/x", "segmenter_calls": -1}, "greater than or equal to 0"),
    ],
)
def test_a_method_has_a_path_or_costs_only_where_they_mean_something(settings, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Method(**settings)


def test_a_path_is_not_written_where_settings_are():
    method = Method(kind="imported", path="/data/Mustermann", segmenter_calls=1)
    assert method.path == "/data/Mustermann"
    assert "Mustermann" not in method.model_dump_json()


@pytest.mark.parametrize(
    ("prompts", "default", "settings", "difference"),
    [
        (["a", "c", "b"], "b", {}, "prompt ‘b’ .the default. where this run has the prompt ‘c’"),
        (["a", "b", "c"], "a", {}, "prompt ‘a’ where this run has the prompt ‘a’ .the default."),
        (["a", "b", "c"], "b", {"thresholds": [0.25]}, "the threshold 0.5 where this run has the"),
        (["a", "b", "c"], "b", {"operations": {}}, "‘dilate’ .* where this run has nothing"),
        (
            ["a", "b", "c"],
            "b",
            {"operations": {"dilate": {"kind": "dilate", "radius": 7}}},
            "radius=1 .* where this run has .* radius=7",
        ),
    ],
)
def test_a_finished_policy_with_other_choices_is_refused_by_the_first_that_differs(
    prompts, default, settings, difference
):
    policy = constant_policy("prompts", 1, 0)
    check_choices("given", policy, ACTIONS)
    parameters = {"thresholds": [0.25, 0.5], "operations": {"dilate": {"kind": "dilate"}}}
    present = ActionSet.of(prompts, default, ActionParameters(**(parameters | settings)))
    with pytest.raises(VesselrlError, match=f"‘given’ was trained .*{difference}"):
        check_choices("given", policy, present)
