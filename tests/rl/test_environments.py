import io

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecMonitor

from vesselrl.rl.environments import CandidateVecEnv
from vesselrl.rl.observations import Observer

CASES = [("prompts", 3), ("operations", 5), ("setting", 1)]


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def environment(request, outcomes_of):
    return make(outcomes_of(*request.param))


def make(outcomes, n_envs=2, seed=0):
    features = np.stack([outcomes.image_features(sample) for sample in outcomes.samples])
    observer = Observer.fit(features, outcomes.rules.length)
    return CandidateVecEnv(outcomes, observer, "ground_truth", n_envs, seed)


def play(environment, steps, seed=0):
    environment.action_space.seed(seed)
    first = environment.reset()
    return first, [
        environment.step([environment.action_space.sample() for _ in range(environment.num_envs)])
        for _ in range(steps)
    ]


def test_shapes_and_types_are_those_sb3_expects(environment):
    first, steps = play(environment, 7)
    for observations in (first, *(step[0] for step in steps)):
        assert observations.shape == (2, *environment.observation_space.shape)
        assert all(environment.observation_space.contains(o) for o in observations)
    for _, rewards, dones, infos in steps:
        assert rewards.dtype == np.float32
        assert rewards.shape == dones.shape == (2,)
        assert dones.dtype == bool
        assert [bool(info.get("episode")) for info in infos] == list(dones)


def test_rewards_of_an_episode_add_up_to_the_gain_over_the_default(environment, outcomes_of):
    outcomes = environment._outcomes
    total = np.zeros(2)
    for _, rewards, _, infos in play(environment, 60)[1]:
        total += rewards
        for index, info in enumerate(infos):
            if "episode" in info:
                before = outcomes.of(info["sample"], ()).true["dice"]
                after = outcomes.of(info["sample"], info["state"]).true["dice"]
                assert info["episode"]["r"] == pytest.approx(after - before, abs=1e-6)
                assert total[index] == pytest.approx(after - before, abs=1e-5)
                assert info["gt_dice"] == info["gold"] == after
                assert info["episode"]["l"] == outcomes.rules.length
                total[index] = 0


def test_the_last_observation_is_kept_and_the_next_episode_begins(environment):
    length = environment._outcomes.rules.length
    _, steps = play(environment, length)
    observations, _, dones, infos = steps[-1]
    assert dones.all()
    for observation, info in zip(observations, infos, strict=True):
        assert info["terminal_observation"].shape == observation.shape
        assert not info["TimeLimit.truncated"]
        if length > 1:
            assert info["terminal_observation"][-1] == 1
            assert observation[-1] == 0


def test_who_changes_a_last_observation_changes_no_other(environment):
    last = {}
    environment.reset()
    always_the_same = np.zeros((2, len(environment._outcomes.rules.choices)), int)
    for _ in range(60):
        for info in environment.step(always_the_same)[3]:
            if "sample" in info:
                observation = info["terminal_observation"]
                expected = last.setdefault(info["sample"], observation.copy())
                assert np.array_equal(observation, expected)
                observation += 1
    assert len(last) == 4


def test_each_environment_shows_every_image_before_one_comes_again(outcomes_of):
    environment = make(outcomes_of("setting", 1))
    shown = [[info["sample"] for info in infos] for *_, infos in play(environment, 8)[1]]
    for of_environment in zip(*shown, strict=True):
        assert set(of_environment[:4]) == set(of_environment[4:]) == {"i0", "i1", "i2", "i3"}


def test_the_seed_fixes_the_order_of_images(outcomes_of):
    def order(seed):
        environment = make(outcomes_of("setting", 1), seed=seed)
        return [info["sample"] for *_, infos in play(environment, 12)[1] for info in infos]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_sb3_wrappers_accept_it(outcomes_of):
    wrapped = VecMonitor(make(outcomes_of("prompts", 3)))
    _, steps = play(wrapped, 3)
    assert all("episode" in info for info in steps[-1][3])


def test_observations_tell_nothing_of_the_truth(outcomes_of, environment):
    """Two images alike but for their truth look the same."""
    outcomes = environment._outcomes
    load = outcomes._load
    hidden = type(outcomes)(
        outcomes.samples,
        lambda sample: type(load(sample))(
            load(sample).image, load(sample).probabilities, ~load(sample).truth
        ),
        outcomes.rules,
        outcomes.objective,
    )
    one, other = play(environment, 10), play(make(hidden), 10)
    assert np.array_equal(one[0], other[0])
    for a, b in zip(one[1], other[1], strict=True):
        assert np.array_equal(a[0], b[0])


def test_a_saved_environment_goes_on_as_if_it_had_never_stopped(environment, outcomes_of):
    outcomes = environment._outcomes
    environment.reset()
    rng = np.random.default_rng(0)

    def actions():
        return rng.integers(0, outcomes.rules.choices, (2, len(outcomes.rules.choices)))

    for _ in range(7):  # in the middle of an episode, and of a walk through the images
        observations, *_ = environment.step(actions())
    file = io.BytesIO()
    torch.save(environment.state(), file)
    file.seek(0)
    resumed = make(outcomes, seed=1)
    assert np.array_equal(resumed.load_state(torch.load(file, weights_only=True)), observations)
    for _ in range(40):
        chosen = actions()
        for one, other in zip(environment.step(chosen), resumed.step(chosen), strict=True):
            np.testing.assert_equal(one, other)
    assert resumed.state() == environment.state()


def test_a_saved_state_does_not_change_with_the_environment(environment):
    play(environment, 3)
    state = environment.state()
    before = repr(state)
    play(environment, 5)
    assert repr(state) == before


def test_a_state_of_another_world_is_refused(outcomes_of):
    environment = make(outcomes_of("setting", 1))
    environment.reset()
    with pytest.raises(ValueError, match="of 2 environments, here are 3"):
        make(outcomes_of("setting", 1), n_envs=3).load_state(environment.state())
    with pytest.raises(ValueError, match="'i[0-3]' is not among the 2"):
        make(outcomes_of("setting", 1, samples=("i8", "i9"))).load_state(environment.state())
