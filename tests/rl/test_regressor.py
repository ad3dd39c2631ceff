import numpy as np
import pytest

from vesselrl.errors import VesselrlError
from vesselrl.rl.observations import Observer, image_features
from vesselrl.rl.regressor import PENALTIES, Images, ridge_regression
from vesselrl.rl.setting_scores import SettingScores, objective_by

TRAINING = [f"i{number}" for number in range(12)]
VALIDATION = [f"i{number}" for number in range(12, 18)]
OTHERS = [f"i{number}" for number in range(18, 30)]


@pytest.fixture
def images_of(outcomes_of, actions):
    """The drawn images (the best prompt shows in brightness) with a judge's rewards."""
    load = outcomes_of("setting", 1)._load

    def make(samples, judge="ground_truth"):
        scores = [SettingScores(actions)((load(sample), 0.0)) for sample in samples]
        return Images(
            np.array([image_features(load(sample).image) for sample in samples]),
            np.array([objective_by(judge, of_image, ["dice"]) for of_image in scores]),
        )

    return make


def chosen(policy, images, actions):
    """The places of a policy's choices among the settings."""

    def never(state):
        raise AssertionError("a mask was looked at")

    states = [policy.decide(features, never)[-1] for features in images.features]
    return [actions.settings.index(state[0]) for state in states]


def test_scores_of_all_settings_are_those_of_each_mask(outcomes_of, actions):
    outcomes = outcomes_of("setting", 1)
    scores = SettingScores(actions)((outcomes._load("i0"), 0.0))
    for place, setting in enumerate(actions.settings):
        outcome = outcomes.of("i0", (tuple(setting),))
        for name in ("dice", "recall", "precision"):
            assert scores[f"true_{name}"][place] == outcome.true[name]
            assert scores[f"predicted_{name}"][place] == outcome.predicted[name]


def test_the_objective_is_the_mean_of_its_scores_in_the_eyes_of_the_judge():
    scores = {"true_dice": [0.2, 0.4], "true_recall": [0.6, 0.6], "predicted_dice": [1.0, 0.0]}
    assert objective_by("ground_truth", scores, ["dice", "recall"]) == pytest.approx([0.4, 0.5])
    assert objective_by("reward_network", scores, ["dice"]) == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("judge", ["ground_truth", "reward_network"])
def test_it_learns_which_prompt_each_image_deserves(images_of, actions, judge):
    fitted = ridge_regression(
        images_of(TRAINING, judge), images_of(VALIDATION), actions, "handmade"
    )
    others = images_of(OTHERS)
    gained = others.rewards[np.arange(len(OTHERS)), chosen(fitted.policy, others, actions)]
    assert gained == pytest.approx(others.rewards.max(1))
    assert gained.mean() > others.rewards.mean(0).max() + 0.1
    assert fitted.validation == pytest.approx(images_of(VALIDATION).rewards.max(1).mean())


def test_coefficients_solve_the_penalised_normal_equations(actions):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4)).astype(np.float32)
    rewards = features @ rng.normal(size=(4, len(actions.settings))) + 3
    fitted = ridge_regression(
        Images(features, rewards), Images(features, rewards), actions, "handmade"
    )
    observer = Observer.fit(features, 1)
    seen = np.stack([observer(of_image, None, 0) for of_image in features]).astype(float)
    x, y = seen - seen.mean(0), rewards - rewards.mean(0)
    expected = np.linalg.solve(x.T @ x + 30 * fitted.penalty * np.eye(4), x.T @ y)
    weight, bias = (fitted.policy.weights[f"layer.0.{part}"] for part in ("weight", "bias"))
    assert weight == pytest.approx(expected.T, abs=1e-5)
    assert (seen @ weight.T + bias).mean(0) == pytest.approx(rewards.mean(0), abs=1e-4)


def test_where_the_image_tells_nothing_one_setting_is_left_for_all(actions):
    rng = np.random.default_rng(0)
    settings = len(actions.settings)
    best = rng.normal(size=settings)

    def noise(count):
        features = rng.normal(size=(count, 16)).astype(np.float32)
        return Images(features, best + rng.normal(0, 0.3, (count, settings)))

    fitted = ridge_regression(noise(40), noise(400), actions, "handmade")
    assert len(set(chosen(fitted.policy, noise(50), actions))) == 1


def test_of_penalties_that_do_equally_well_the_largest_is_kept(actions):
    same = Images(np.ones((4, 16), np.float32), np.ones((4, len(actions.settings))))
    assert ridge_regression(same, same, actions, "handmade").penalty == max(PENALTIES)


def test_what_raises_all_rewards_of_an_image_changes_no_choice(images_of, actions):
    training, validation, others = (images_of(s) for s in (TRAINING, VALIDATION, OTHERS))
    rise = np.random.default_rng(0).normal(size=(len(TRAINING), 1))
    raised = Images(training.features, training.rewards + rise)
    plain, other = (
        ridge_regression(images, validation, actions, "handmade").policy
        for images in (training, raised)
    )
    assert chosen(plain, others, actions) == chosen(other, others, actions)


@pytest.mark.parametrize("split", ["train", "val"])
def test_without_images_it_says_which_split_needs_some(images_of, actions, split):
    some = images_of(TRAINING)
    none = Images(np.empty((0, 16), np.float32), np.empty((0, len(actions.settings))))
    given = {"train": some, "val": some} | {split: none}
    with pytest.raises(VesselrlError, match=f"split '{split}'.*split.fractions.{split}"):
        ridge_regression(given["train"], given["val"], actions, "handmade")


def test_rewards_of_other_settings_are_refused(images_of, actions):
    some = images_of(TRAINING)
    fewer = Images(some.features, some.rewards[:, :-1])
    with pytest.raises(VesselrlError, match=r"12 'train' images.*\(12, 17\).*again"):
        ridge_regression(fewer, some, actions, "handmade")


def test_validation_images_seen_by_another_network_are_refused(images_of, actions):
    some = images_of(TRAINING)
    fewer = Images(some.features[:, :-1], some.rewards)
    with pytest.raises(VesselrlError, match="16 features.*is shown 15"):
        ridge_regression(some, fewer, actions, "handmade")
