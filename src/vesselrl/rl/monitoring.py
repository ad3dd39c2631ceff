"""What is watched while a policy trains: means over whole rollouts, and checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from vesselrl.files import write_atomically

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


class Monitor(BaseCallback):
    """Records means over each whole rollout, of all environments, and saves checkpoints.

    Args:
        checkpoints: folder of the checkpoints.
        save_freq: a checkpoint is written as each multiple of this number of steps is reached.
        progress: moved on with the steps.
    """

    def __init__(self, checkpoints: Path, save_freq: int, progress: tqdm) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._save_freq = save_freq
        self._progress = progress
        self._ended: list[dict[str, Any]] = []
        self._actions: list[tuple[int, ...]] = []

    def _on_step(self) -> bool:
        n_envs = self.training_env.num_envs
        self._ended += [info for info in self.locals["infos"] if "episode" in info]
        actions = np.asarray(self.locals["actions"]).reshape(n_envs, -1)
        self._actions += [tuple(row) for row in actions]
        before, now = ((self.num_timesteps - n) // self._save_freq for n in (n_envs, 0))
        for multiple in range(before + 1, now + 1):
            name = f"sa2va_rl_{multiple * self._save_freq}_steps.zip"
            write_atomically(self._checkpoints / name, self.model.save)
        self._progress.update(n_envs)
        return True

    def _on_rollout_end(self) -> None:
        history = self.model.history
        best = max((row["best_reward"] for row in history if "best_reward" in row), default=-np.inf)
        if self._ended:
            returns = [info["episode"]["r"] for info in self._ended]
            best = max(best, float(np.mean(returns)))
            self.logger.record("rollout/ep_rew_mean", float(np.mean(returns)))
            self.logger.record(
                "rollout/ep_len_mean",
                float(np.mean([info["episode"]["l"] for info in self._ended])),
            )
            self.logger.record("custom/best_reward", best)
            for tag, key in TAGS.items():
                if key in self._ended[0]:
                    self.logger.record(tag, float(np.mean([info[key] for info in self._ended])))
        _, counts = np.unique(np.array(self._actions), axis=0, return_counts=True)
        self.logger.record("custom/action_entropy", entropy(counts / counts.sum()))
        self._ended, self._actions = [], []
        self._progress.set_postfix(reward=f"{best:+.3f}", refresh=False)


def entropy(shares: Any) -> float:
    """Shannon entropy in nats of shares that add up to 1, none of them 0."""
    return float(-(shares * np.log(shares)).sum())
