import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn_world import rl_parameters
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vesselrl.rl.looks import reason_to_end
from vesselrl.rl.parameters import RLParameters
from vesselrl.rl.training import train_policy

ROOT = Path(__file__).parents[2]

TAGS = {
    "rollout/ep_rew_mean", "rollout/ep_len_mean", "custom/reward_net_score", "custom/gt_dice",
    "custom/best_reward", "custom/val_dice", "custom/action_entropy", "train/policy_loss",
    "train/value_loss", "custom/val_proxy_objective",
}  # fmt: skip


def train(outcomes_of, folder, chooses="setting", length=1, seed=1, paid_by="ground_truth", **ppo):
    return train_policy(
        "tried",
        outcomes_of(chooses, length),
        outcomes_of(chooses, length, samples=("i4", "i5")),
        paid_by,
        rl_parameters(ppo),
        seed,
        folder,
        "fingerprint",
    )


def events(folder) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder / "logs" / "PPO_1"))
    accumulator.Reload()
    return accumulator


def test_the_policy_learns_which_prompt_each_image_deserves(outcomes_of, tmp_path):
    run = train(outcomes_of, tmp_path, total_timesteps=1500)
    assert run.result["val_dice"] == pytest.approx(1.0)
    assert not run.result["collapsed"]
    assert run.result["most_frequent_choice"] == 0.5
    assert run.result["choice_entropy"] == pytest.approx(np.log(2), abs=1e-4)
    assert run.result["ended"] == "all steps"
    assert run.history[-1]["ep_rew_mean"] > run.history[0]["ep_rew_mean"]


@pytest.mark.parametrize(("chooses", "length"), [("prompts", 3), ("operations", 5), ("setting", 1)])
def test_every_tag_has_one_value_an_update_at_its_own_step(outcomes_of, tmp_path, chooses, length):
    run = train(outcomes_of, tmp_path, chooses, length)
    log = events(tmp_path)
    assert set(log.Tags()["scalars"]) >= TAGS
    steps = [128, 256, 384, 512]
    assert [event.step for event in log.Scalars("train/policy_loss")] == steps
    assert [event.step for event in log.Scalars("rollout/ep_rew_mean")] == steps
    assert [event.step for event in log.Scalars("custom/val_dice")] == [256, 512]
    assert [row["steps"] for row in run.history] == steps
    assert log.Scalars("custom/gt_dice")[-1].value == pytest.approx(run.history[-1]["gt_dice"])
    assert log.Scalars("rollout/ep_len_mean")[-1].value == length


def test_checkpoints_come_as_their_steps_are_reached(outcomes_of, tmp_path):
    train(outcomes_of, tmp_path, n_envs=3)
    names = {file.name for file in (tmp_path / "checkpoints").glob("*.zip")}
    assert names == {f"sa2va_rl_{steps}_steps.zip" for steps in (100, 200, 300, 400, 500)}
    assert PPO.load(tmp_path / "checkpoints" / "sa2va_rl_100_steps.zip").num_timesteps == 102


def test_the_exported_policy_does_what_the_model_does(outcomes_of, tmp_path):
    for chooses, length in (("setting", 1), ("prompts", 3)):
        run = train(outcomes_of, tmp_path / chooses, chooses, length)
        rng = np.random.default_rng(0)
        for observation in rng.normal(size=(50, run.policy.observer.size)).astype(np.float32):
            action, _ = run.model.predict(observation, deterministic=True)
            assert run.policy.choose(observation) == tuple(np.atleast_1d(action))


def test_same_seed_same_policy_and_another_seed_another(outcomes_of, tmp_path):
    first, second, other = (
        train(outcomes_of, tmp_path / name, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.history == second.history
    for name, weight in first.policy.weights.items():
        assert np.array_equal(weight, second.policy.weights[name])
    assert first.history != other.history


def test_the_policy_with_the_best_gold_score_is_kept_not_the_best_paid(outcomes_of, tmp_path):
    run = train(outcomes_of, tmp_path, paid_by="reward_network")
    scored = {row["steps"]: row["val_dice"] for row in run.history if "val_dice" in row}
    assert run.result["val_dice"] == max(scored.values()) == scored[run.result["kept_step"]]


def test_a_policy_that_treats_all_images_alike_is_called_collapsed(outcomes_of, tmp_path):
    bright = [f"i{number}" for number in range(0, 20, 2)]
    run = train_policy(
        "tried", outcomes_of("prompts", 1, bright[:8]), outcomes_of("prompts", 1, bright[8:]),
        "ground_truth", rl_parameters({"total_timesteps": 1500}), seed=1, folder=tmp_path,
        fingerprint="",
    )  # fmt: skip
    assert run.result["collapsed"], run.result
    assert run.result["choices"] == {"top | 0.5 | keep": 1.0}
    assert (run.result["most_frequent_choice"], run.result["choice_entropy"]) == (1, 0)
    json.dumps(run.result)


def test_without_validation_images_the_last_policy_is_kept(outcomes_of, tmp_path):
    run = train_policy(
        "tried", outcomes_of("setting", 1), outcomes_of("setting", 1, samples=()),
        "ground_truth", rl_parameters(), seed=1, folder=tmp_path,
        fingerprint="",
    )  # fmt: skip
    assert run.result["kept_step"] == run.result["steps"] == 512
    assert run.result["val_dice"] is None


def test_the_quick_form_makes_all_its_steps_even_if_its_first_look_was_the_best():
    conf = ROOT / "conf" / "base"
    rl = yaml.safe_load((conf / "parameters_experiments.yml").read_text())["rl"]
    quick = yaml.safe_load((conf / "parameters.yml").read_text())["quick_overrides"]["rl"]
    settings = RLParameters(**rl | quick | {"ppo": rl["ppo"] | quick["ppo"]})
    rollout = settings.ppo.n_envs * settings.ppo.n_steps
    steps = np.arange(rollout, settings.ppo.total_timesteps + rollout, rollout)
    assert steps[-1] == 2048
    looks = steps[settings.validate_every - 1 :: settings.validate_every]
    assert steps[-1] == looks[-1]
    history = [{"steps": step, "val_gold": 1 / step} for step in looks[:-1]]
    assert not reason_to_end(history, int(steps[-2]), int(steps[-1]), settings.patience)
