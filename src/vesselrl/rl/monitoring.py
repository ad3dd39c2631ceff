"""What is watched while a policy trains: TensorBoard tags, history, checkpoints, gold Dice."""

import time
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.policy import Policy

TAGS = {
    "rollout/ep_rew_mean": "ep_rew_mean",
    "custom/reward_net_score": "reward_net_score",
    "custom/gt_dice": "gt_dice",
    "custom/proxy_objective": "proxy",
    "custom/gold_objective": "gold",
    "custom/best_reward": "best_reward",
    "custom/action_entropy": "action_entropy",
    "train/policy_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/explained_variance": "explained_variance",
}
"""TensorBoard tag → column of the history."""
VALIDATION_TAGS = {"custom/val_dice": "val_dice", "custom/val_objective": "val_gold"}
"""The same for what is measured at some updates only."""


class LoggedPPO(PPO):
    """PPO that logs each update at its own step, the last one too.

    Stable-Baselines3 writes what an update measured one update late, and the last never; call
    ``learn`` with ``log_interval=None`` to leave the logging to this class.

    Attributes:
        history: one row an update.
        deployment: what the policy sees and chooses from, kept in the model's file as plain JSON.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.history: list[dict[str, float]] = []
        self.deployment: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    def train(self) -> None:
        """Update the policy, then write all that was recorded since the update before."""
        super().train()
        measured = self.logger.name_to_value
        seconds = (time.time_ns() - self.start_time) / 1e9
        self.logger.record("time/fps", int(self.num_timesteps / max(seconds, 1e-9)))
        self.logger.record("train/policy_loss", measured["train/policy_gradient_loss"])
        self.history.append(
            {"steps": self.num_timesteps}
            | {column: float(measured[tag]) for tag, column in TAGS.items() if tag in measured}
        )
        self.logger.dump(self.num_timesteps)


def greedy_states(policy: Policy, outcomes: Outcomes) -> dict[str, Any]:
    """Sample → the state at the end of its greedy episode."""
    return {
        sample: policy.decide(
            outcomes.image_features(sample), partial(outcomes.mask_features, sample)
        )[-1]
        for sample in outcomes.samples
    }


class Monitor(BaseCallback):
    """Records means over each whole rollout, scores validation images, keeps checkpoints.

    Args:
        observer: what the policy sees.
        validation: images whose true objective decides which policy is kept; may be none.
        validate_every: updates between two looks at the validation images.
        checkpoints: folder of the checkpoints.
        save_freq: a checkpoint is written as each multiple of this number of steps is reached.
        progress: moved on with the steps.
    """

    def __init__(
        self,
        observer: Observer,
        validation: Outcomes,
        validate_every: int,
        checkpoints: Path,
        save_freq: int,
        progress: tqdm,
    ) -> None:
        super().__init__()
        self._observer = observer
        self._validation = validation
        self._validate_every = validate_every
        self._checkpoints = checkpoints
        self._save_freq = save_freq
        self._progress = progress
        self._saved = 0
        self._rollouts = 0
        self._ended: list[dict[str, Any]] = []
        self._actions: list[tuple[int, ...]] = []
        self._best_reward = -np.inf
        self.best_step = 0
        self.best_score = -np.inf
        self._best_weights: dict[str, Any] | None = None

    def _on_rollout_start(self) -> None:
        # The policy stands as the update before left it.
        if self._rollouts and self._rollouts % self._validate_every == 0:
            self._validate()
        self._rollouts += 1

    def _on_step(self) -> bool:
        self._ended += [info for info in self.locals["infos"] if "episode" in info]
        actions = np.asarray(self.locals["actions"]).reshape(self.training_env.num_envs, -1)
        self._actions += [tuple(row) for row in actions]
        self._progress.update(self.training_env.num_envs)
        while self._saved + self._save_freq <= self.num_timesteps:
            self._saved += self._save_freq
            self.model.save(self._checkpoints / f"sa2va_rl_{self._saved}_steps.zip")
        return True

    def _on_rollout_end(self) -> None:
        """Means over the whole rollout, every environment's episodes."""
        if self._ended:
            returns = [info["episode"]["r"] for info in self._ended]
            self._best_reward = max(self._best_reward, float(np.mean(returns)))
            self.logger.record("rollout/ep_rew_mean", float(np.mean(returns)))
            self.logger.record(
                "rollout/ep_len_mean",
                float(np.mean([info["episode"]["l"] for info in self._ended])),
            )
            self.logger.record("custom/best_reward", self._best_reward)
            for tag, key in TAGS.items():
                if key in self._ended[0]:
                    self.logger.record(tag, float(np.mean([info[key] for info in self._ended])))
        _, counts = np.unique(np.array(self._actions), axis=0, return_counts=True)
        shares = counts / counts.sum()
        self.logger.record("custom/action_entropy", float(-(shares * np.log(shares)).sum()))
        self._ended, self._actions = [], []
        self._progress.set_postfix(reward=f"{self._best_reward:+.3f}", refresh=False)

    def _on_training_end(self) -> None:
        self._validate()
        if self._best_weights is not None:
            self.model.policy.load_state_dict(self._best_weights)

    def _validate(self) -> None:
        """Score the greedy policy on validation images and remember the best policy so far."""
        if not self._validation.samples:
            return
        policy = Policy.of(self.model, self._validation.rules, self._observer)
        states = greedy_states(policy, self._validation)
        gold = [self._validation.of(sample, state).true for sample, state in states.items()]
        score = float(np.mean([self._validation.objective_of(scores) for scores in gold]))
        measured = {"val_dice": float(np.mean([scores["dice"] for scores in gold]))}
        measured["val_gold"] = score
        self.model.history[-1].update(measured)
        for tag, column in VALIDATION_TAGS.items():
            self.logger.record(tag, measured[column])
        self.logger.dump(self.num_timesteps)
        if score >= self.best_score:  # of equals the one that has learned longer
            self.best_score, self.best_step = score, self.num_timesteps
            self._best_weights = deepcopy(self.model.policy.state_dict())
