"""A finished method draws of a new image what evaluation drew of it, and rates it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from finished_world import World
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.networks import network_map, networks_behind
from vesselrl.evaluation.parameters import Method
from vesselrl.pipelines.evaluation.nodes import decide, draw_predictions
from vesselrl.pipelines.reward_net.nodes import score_actions
from vesselrl.prediction.calibration import Calibration
from vesselrl.prediction.out_of_distribution import Reference
from vesselrl.prediction.parameters import UNPREDICTABLE
from vesselrl.prediction.predictor import Predictor
from vesselrl.prediction.recipe import Recipe, write_recipe
from vesselrl.reward.network import RewardNetwork
from vesselrl.rl.observations import image_features
from vesselrl.segmenters.base import PromptsFailed, build_segmenter
from vesselrl.segmenters.unet.network import SegmentationNetwork

METHODS = World.evaluation.methods
PREDICTABLE = [name for name, method in METHODS.items() if method.kind not in UNPREDICTABLE]
NETWORK_METHODS = [name for name, method in METHODS.items() if method.kind == "network"]


def maps_of(world):
    """What the pipelines that train networks leave for evaluation."""
    made = {}
    for name in NETWORK_METHODS:
        states, refiner = networks_behind(name, world.trained)
        networks = {n: SegmentationNetwork.from_state(s) for n, s in states.items()}
        judge = refiner and RewardNetwork.from_state(refiner)
        for sample in world.of_split("test"):
            levels = network_map(name, networks, judge, world.drawn[sample][0])
            made[f"{name}/{sample}"] = lambda v=levels: {"levels": v, "seconds": np.array(0.1)}
    return made


@pytest.fixture(scope="module")
def drawn_by_evaluation(world):
    """``<method>/masks/<id>`` → mask, and the choices as a table."""
    chances = {"random", "oracle", "imported"}
    methods = {name: m for name, m in METHODS.items() if name not in chances}
    evaluation = World.evaluation.model_copy(update={"methods": methods})
    scores = score_actions(
        world.images, world.masks, world.candidates, world.reward_network, {}, world.samples,
        world.segmenter, world.actions,
    )  # fmt: skip
    maps, points = maps_of(world), {n: {"threshold": t} for n, t in world.thresholds.items()}
    choices, not_run = decide(
        world.images, world.candidates, {s: cache(make) for s, make in scores.items()},
        world.static_setting, world.reward_network, world.finished, {}, points, world.samples,
        evaluation, world.segmenter, world.actions, list(world.objective), 1,
        segmenter_maps=maps, **world.policies,
    )  # fmt: skip
    assert not not_run
    masks = draw_predictions(
        choices, world.images, world.candidates, world.reward_network, {}, evaluation,
        world.segmenter, world.actions, segmenter_maps=maps,
    )  # fmt: skip
    return {name: make() for name, make in masks.items()}, choices.set_index("prediction")


@pytest.mark.parametrize("method", PREDICTABLE)
def test_a_new_image_gets_the_mask_that_evaluation_drew_of_it(world, drawn_by_evaluation, method):
    masks, choices = drawn_by_evaluation
    predictor = Predictor(write_recipe(method, METHODS, world.stock))
    shown = set()
    for sample in world.of_split("test"):
        name = f"{method}/masks/{sample}"
        made, row = predictor.predict(world.drawn[sample][0]), choices.loc[name]
        assert np.array_equal(made.mask, masks[name])
        assert made.segmenter_calls == row["segmenter_calls"]
        assert (made.prompt, made.operations) == (row["prompt"], row["operations"])
        assert made.threshold == row["threshold"]
        shown.add(int(made.mask.sum()))
    assert any(0 < size < made.mask.size for size in shown)


class Counting:
    """A segmenter that notes what it is asked, and fails if it is told to."""

    def __init__(self, parameters):
        self._inner = build_segmenter(parameters)
        self.asked, self.fails = [], False

    def probabilities(self, image, prompts):
        self.asked.append(tuple(prompts))
        if self.fails:
            raise PromptsFailed(np.zeros((1, 2, 2), np.float32), {prompts[0]: ValueError("broken")})
        return self._inner.probabilities(image, prompts)


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("default", [("thick",)]),
        ("static", [("thick",)]),
        ("best_of_one", [("thick",)]),
        ("best_of_n", [("thin", "thick", "all")]),  # together: what is dear is done once
        ("posterior", [("thin", "thick", "all")]),
        ("supervised", []),
        ("refine", []),
    ],
)
def test_only_the_prompts_that_a_method_needs_are_asked(world, method, asked):
    segmenter = Counting(world.segmenter)
    Predictor(write_recipe(method, METHODS, world.stock), segmenter).predict(
        world.drawn["test10"][0]
    )
    assert segmenter.asked == asked


@pytest.mark.parametrize("method", ["reward_rl", "prompt_rl", "regressor", "static"])
def test_hand_made_features_are_made_once_an_image(world, method, monkeypatch):
    made = []

    def counted(image):
        made.append(image)
        return image_features(image)

    monkeypatch.setattr("vesselrl.prediction.predictor.image_features", counted)
    reference = Reference.fit(*np.random.default_rng(0).random((2, 4, 16)))
    calibration = replace(Calibration.unknown(), reference=reference)
    recipe = write_recipe(method, METHODS, world.stock).calibrated(calibration)
    Predictor(recipe).predict(world.drawn["test10"][0])
    assert len(made) == 1


def test_a_prompt_that_fails_is_no_empty_mask(world):
    segmenter = Counting(world.segmenter)
    predictor = Predictor(write_recipe("static", METHODS, world.stock), segmenter)
    segmenter.fails = True
    with pytest.raises(PromptsFailed, match="broken"):
        predictor.predict(world.drawn["test10"][0])


def test_maps_of_another_size_than_the_image_are_no_mask_of_it(world, monkeypatch):
    segmenter = Counting(world.segmenter)
    predictor = Predictor(write_recipe("static", METHODS, world.stock), segmenter)
    monkeypatch.setattr(segmenter, "probabilities", lambda *_: np.zeros((1, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"The maps have shape \(1, 8, 8\); expected \(1, \d\d"):
        predictor.predict(world.drawn["test10"][0])


def test_what_is_no_image_is_refused(world):
    predictor = Predictor(write_recipe("supervised", METHODS, world.stock))
    with pytest.raises(VesselrlError, match="float64"):
        predictor.predict(np.zeros((8, 8)))


def test_the_error_map_says_of_each_pixel_how_likely_the_mask_is_wrong(world):
    made = Predictor(write_recipe("static", METHODS, world.stock)).predict(world.drawn["test10"][0])
    assert made.error.shape == made.mask.shape
    assert made.error.dtype == np.float32
    # where the mask says vessel, an error is that the truth is none, so the rest is its Dice
    q = np.where(made.mask, 1 - made.error, made.error).astype(float)
    one = 2 * (q * made.mask).sum() / (q.sum() + made.mask.sum())
    assert 0 <= made.error.min() <= made.error.max() <= 1
    assert made.dice == pytest.approx(one, abs=0.05)  # two members agree, all but


@pytest.mark.parametrize("method", ["static", "prompt_rl", "given", "fold_ensemble", "refine"])
def test_a_recipe_survives_being_written_down(world, method, tmp_path):
    import torch

    recipe = write_recipe(method, METHODS, world.stock)
    torch.save(recipe.state(), tmp_path / "recipe.pth")
    again = Recipe.from_state(
        torch.load(tmp_path / "recipe.pth", weights_only=True), world.segmenter
    )
    image = world.drawn["test11"][0]
    before, after = Predictor(recipe).predict(image), Predictor(again).predict(image)
    assert np.array_equal(before.mask, after.mask)
    assert np.array_equal(before.error, after.error)
    assert (before.dice, before.prompt) == (after.dice, after.prompt)


def test_a_recipe_is_not_mixed_with_another_segmenter(world):
    state = write_recipe("static", METHODS, world.stock).state()
    others = {
        "‘static’ was made with other prompts or settings": {"max_side": 32},
        "‘static’ asks the segmenter ‘ridge’, and this run's is ‘tophat’": {"kind": "tophat"},
    }
    for told, changes in others.items():
        with pytest.raises(VesselrlError, match=told):
            Recipe.from_state(state, world.segmenter.model_copy(update=changes))


@pytest.mark.parametrize("method", ["random", "oracle", "imported"])
def test_what_cannot_be_applied_to_new_images_says_why_and_what_can(world, method):
    with pytest.raises(VesselrlError, match=f"‘{method}’, which cannot.*static.*refine") as raised:
        write_recipe(method, METHODS, world.stock)
    assert UNPREDICTABLE[METHODS[method].kind] in str(raised.value)


def test_adapters_of_sa2va_are_used_as_part_of_the_segmenter(world):
    methods = METHODS | {"sa2va_rl": Method(kind="network", network="sa2va_rl")}
    with pytest.raises(VesselrlError, match=r"‘sa2va_rl’, which cannot.*segmenter\.adapters"):
        write_recipe("sa2va_rl", methods, world.stock)


def test_an_unknown_method_is_answered_with_those_there_are(world):
    with pytest.raises(VesselrlError, match="‘statik’, which is no method.*best_of_n"):
        write_recipe("statik", METHODS, world.stock)


@pytest.mark.parametrize(
    ("method", "command"),
    [
        ("reward_rl", "kedro run --pipeline rl_finetune"),
        ("prompt_rl", "kedro run --pipeline experiments"),
        ("distilled", "kedro run --pipeline segmenter"),
        ("refine", "kedro run --pipeline pixel_rl"),
    ],
)
def test_what_was_not_trained_is_named_with_its_command(world, method, command):
    bare = replace(world.stock, policies={}, trained={})
    with pytest.raises(VesselrlError, match=command):
        write_recipe(method, METHODS, bare)


def test_a_policy_of_other_prompts_is_refused(world):
    prompts = dict(reversed(world.segmenter.prompts.items()))
    other = world.segmenter.model_copy(update={"prompts": prompts})
    with pytest.raises(VesselrlError, match="trained to choose among other options"):
        write_recipe("reward_rl", METHODS, replace(world.stock, segmenter=other))


def test_of_several_seeds_the_first_is_taken(world):
    first = world.policies["prompt_rl"][1]
    assert write_recipe("prompt_rl", METHODS, world.stock).policy is first
