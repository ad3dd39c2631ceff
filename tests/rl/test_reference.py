"""The plain environment, and that the table of candidates is the same world."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from stable_baselines3.common.vec_env import DummyVecEnv

from vesselrl.networks.architecture import Architecture
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scenes import CACHE_BYTES, SceneLoader
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.environments import CandidateVecEnv
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.reference import SegmentationEnv
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.candidates import make_candidates
from vesselrl.segmenters.parameters import FilterParameters

EXPERIMENTS = [("prompts", 3), ("operations", 5), ("setting", 1)]
JUDGES = ["ground_truth", "reward_network"]
OBJECTIVE = ["dice", "recall"]
IMAGES = 4
SIZE = 48
BROKEN = "i3"
PROMPTS = {
    "default": {"scales": [2], "fraction": 0.1, "min_size": 5},
    "thin": {"scales": [1], "fraction": 0.15, "min_size": 0},
    "all": {"scales": [1, 2, 3], "fraction": 0.2, "min_size": 10},
}
ACTIONS = ActionSet.of(
    list(PROMPTS),
    "default",
    ActionParameters(
        thresholds=[0.3, 0.6],
        operations={"dilate": {"kind": "dilate"}, "small": {"kind": "remove_small", "size": 9}},
    ),
)


class CountingSegmenter:
    """The ridge segmenter; it notes what it is asked and fails on black images."""

    def __init__(self):
        parameters = FilterParameters(
            kind="ridge", default_prompt="default", max_side=SIZE, prompts=PROMPTS
        )
        self._ridge = build_segmenter(parameters)
        self.asked = []

    def probabilities(self, image, prompts):
        self.asked.append(list(prompts))
        if not image.any():
            raise ValueError("nothing to see")
        return self._ridge.probabilities(image, prompts)


@dataclass
class World:
    """The same images for both kinds of environment."""

    images: dict
    truths: dict
    network: RewardNetwork
    segmenter: CountingSegmenter
    candidates: dict
    load: SceneLoader

    def outcomes(self, chooses, length, load=None):
        rules = Rules(ACTIONS, chooses, length)
        return Outcomes(tuple(self.images), load or self.load, rules, OBJECTIVE)

    def table(self, outcomes, paid_by, n_envs=1, seed=0):
        return CandidateVecEnv(outcomes, observer_of(outcomes), paid_by, n_envs, seed)

    def plain(self, outcomes, paid_by):
        return SegmentationEnv(
            self.images, self.truths, self.segmenter, self.network,
            outcomes.rules, OBJECTIVE, observer_of(outcomes), paid_by,
        )  # fmt: skip

    def plain_batch(self, outcomes, paid_by, n_envs=1, seed=0):
        """Plain environments in SB3's own batch, walking through the images in the same order."""

        def make(index):
            environment = self.plain(outcomes, paid_by)
            environment.np_random = np.random.default_rng([seed, index])
            return environment

        return DummyVecEnv([lambda index=index: make(index) for index in range(n_envs)])


def observer_of(outcomes):
    features = np.stack([outcomes.image_features(sample) for sample in outcomes.samples])
    return Observer.fit(features, outcomes.rules.length)


def draw(number):
    """A dark line in noise."""
    rng = np.random.default_rng(number)
    truth = np.zeros((SIZE, SIZE), bool)
    truth[10 + 7 * number : 13 + 7 * number, 5:-5] = True
    dark = 150 - 60 * ndimage.gaussian_filter(truth.astype(float), 0.7)
    return np.clip(dark + rng.normal(0, 8, truth.shape), 0, 255).astype(np.uint8), truth


@pytest.fixture(scope="module")
def world():
    drawn = {f"i{number}": draw(number) for number in range(IMAGES)}
    drawn[BROKEN][0][:] = 0
    images = {name: lambda image=image: image for name, (image, _) in drawn.items()}
    truths = {name: lambda truth=truth: truth for name, (_, truth) in drawn.items()}
    architecture = Architecture(2, (4,) * 6, 2)
    network = RewardNetwork(
        [architecture.build(seed) for seed in (0, 1)],
        architecture,
        SIZE,
        Scoring("lower_bound", 0.5),
    )
    segmenter = CountingSegmenter()
    candidates = {
        name: lambda name=name: make_candidates(name, images[name](), segmenter, list(PROMPTS))
        for name in images
    }
    load = SceneLoader(images, truths, candidates, network, CACHE_BYTES)
    return World(images, truths, network, segmenter, candidates, load)


def assert_same_world(table, plain, steps, choose):
    """Both show, pay and tell the same when they are treated alike."""
    np.testing.assert_array_equal(table.reset(), plain.reset(), strict=True)
    ended = 0
    for _ in range(steps):
        actions = choose()
        ours, theirs = table.step(actions), plain.step(actions)
        for one, other in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
        for one, other in zip(ours[3], theirs[3], strict=True):
            assert one.keys() == other.keys()
            np.testing.assert_equal(one, other)
        ended += ours[2].sum()
    return ended


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("paid_by", JUDGES)
@pytest.mark.parametrize(("chooses", "length"), EXPERIMENTS)
def test_the_table_is_the_same_world_as_asking_in_the_loop(world, chooses, length, paid_by, n_envs):
    outcomes = world.outcomes(chooses, length)
    table = world.table(outcomes, paid_by, n_envs)
    rng = np.random.default_rng(0)

    def choose():
        actions = rng.integers(0, outcomes.rules.choices, (n_envs, len(outcomes.rules.choices)))
        return actions if actions.shape[1] > 1 else actions[:, 0]

    episodes = IMAGES + 2
    ended = assert_same_world(
        table, world.plain_batch(outcomes, paid_by, n_envs), episodes * length, choose
    )
    assert ended == episodes * n_envs


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_whatever_is_done_the_worlds_stay_the_same(world, data):
    outcomes = world.outcomes(
        data.draw(st.sampled_from(["prompts", "operations", "setting"])),
        data.draw(st.integers(1, 6)),
    )
    paid_by, seed = data.draw(st.sampled_from(JUDGES)), data.draw(st.integers(0, 9))
    option = st.tuples(*(st.integers(0, n - 1) for n in outcomes.rules.choices))

    def choose():
        action = data.draw(option)
        return np.array([action if len(action) > 1 else action[0]])

    assert_same_world(
        world.table(outcomes, paid_by, seed=seed),
        world.plain_batch(outcomes, paid_by, seed=seed),
        data.draw(st.integers(1, 8)),
        choose,
    )


def test_a_policy_learns_the_same_in_both(world):
    outcomes = world.outcomes("prompts", 2)

    def learn(environment):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  Stable-Baselines3 shuffles its batches with it
        model = PPO("MlpPolicy", environment, n_steps=16, batch_size=16, n_epochs=2, device="cpu")
        return model.learn(32).policy.state_dict()

    table, plain = (
        learn(make(outcomes, "reward_network", 2)) for make in (world.table, world.plain_batch)
    )
    for name, weights in table.items():
        assert torch.equal(weights, plain[name]), name


@pytest.mark.parametrize("paid_by", JUDGES)
@pytest.mark.parametrize(("chooses", "length"), EXPERIMENTS)
@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
def test_both_libraries_accept_the_plain_environment(world, chooses, length, paid_by):
    environment = world.plain(world.outcomes(chooses, length), paid_by)
    check_env(environment, skip_render_check=True)
    check_env_for_sb3(environment, skip_render_check=True)


def test_a_seed_fixes_the_order_of_images_of_the_plain_environment(world):
    environment = world.plain(world.outcomes("setting", 1), "ground_truth")

    def order(seed):
        shown = []
        for number in range(2 * IMAGES):
            environment.reset(seed=None if number else seed)
            shown.append(environment.step([0, 0, 0])[4]["sample"])
        return shown

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)[:IMAGES]) == sorted(order(1)[IMAGES:]) == sorted(world.images)


@pytest.mark.parametrize(
    ("paid_by", "calls"),
    [("reward_network", [["default", "thin", "all"]]), ("ground_truth", [["default"], ["thin"]])],
)
def test_who_keeps_nothing_asks_each_prompt_once_an_episode(world, paid_by, calls):
    """The network reads the maps of all prompts; the truth needs those that are chosen."""
    environment = world.plain(world.outcomes("prompts", 3), paid_by)
    environment.reset(seed=0)
    for _ in range(2):
        world.segmenter.asked.clear()
        environment.reset()
        for prompt in (1, 0):
            environment.step(prompt)
        assert world.segmenter.asked == calls


def test_the_table_asks_the_segmenter_once_an_image(world):
    load = SceneLoader(world.images, world.truths, world.candidates, world.network, CACHE_BYTES)
    world.segmenter.asked.clear()
    environment = world.table(world.outcomes("prompts", 3, load), "reward_network", n_envs=2)
    environment.reset()
    for _ in range(30):
        environment.step([environment.action_space.sample() for _ in range(2)])
    assert world.segmenter.asked == [list(PROMPTS)] * IMAGES
