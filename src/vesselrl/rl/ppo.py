"""PPO, one update at a time: each is logged at its own step, and between two it can be left."""

import random
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from vesselrl.errors import VesselrlError
from vesselrl.rl.monitoring import TAGS

ZIP_YEARS = (1980, 2107)
"""The first and the last that a time in a zip file can be of."""


class SteppedPPO(PPO):
    """PPO whose caller decides after each update whether there is another.

    Stable-Baselines3's ``learn`` cannot be left between two updates, and it writes what an update
    measured one update late, and the last never. Call `begin` in its place, then `update` as often
    as wanted.

    Attributes:
        history: one row an update, see `vesselrl.rl.monitoring.TAGS`.
        deployment: what the policy sees and chooses from, kept in the model's file as plain JSON.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.history: list[dict[str, float]] = []
        self.deployment: dict[str, Any] = {}
        self._began = 0.0
        super().__init__(*args, **kwargs)

    def begin(self, total_timesteps: int, callback: BaseCallback) -> None:
        """Prepare for updates, from the first one or from where `load_state` goes on."""
        self._setup_learn(
            total_timesteps - self.num_timesteps, callback, reset_num_timesteps=not self.history
        )
        callback.on_training_start({}, {})
        self._began = time.perf_counter()

    def update(self, callback: BaseCallback) -> None:
        """Collect a rollout, learn from it, and write all that was recorded meanwhile."""
        self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        self.train()
        measured = self.logger.name_to_value
        seconds = time.perf_counter() - self._began
        steps = self.num_timesteps - self._num_timesteps_at_start
        self.logger.record("time/fps", int(steps / max(seconds, 1e-9)))
        self.logger.record("train/policy_loss", measured["train/policy_gradient_loss"])
        self.history.append(
            {"steps": self.num_timesteps}
            | {column: float(measured[tag]) for tag, column in TAGS.items() if tag in measured}
        )
        self.logger.dump(self.num_timesteps)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the file of Stable-Baselines3, in which the clock's time stands.

        Raises:
            VesselrlError: the clock shows a time that a zip file cannot hold.
        """
        now = time.localtime()
        if not ZIP_YEARS[0] <= now.tm_year <= ZIP_YEARS[1]:
            raise VesselrlError(
                f"The policy cannot be saved: this machine's clock shows {now.tm_year}, and the "
                f"file, a zip file, holds times of {ZIP_YEARS[0]} to {ZIP_YEARS[1]} alone. Set the "
                "clock and run again."
            )
        super().save(*args, **kwargs)

    def state(self) -> dict[str, Any]:
        """All that the next update depends on, of tensors and plain values."""
        return {
            "steps": self.num_timesteps,
            "updates": self._n_updates,
            "history": self.history,
            "policy": self.policy.state_dict(),
            "optimiser": self.policy.optimizer.state_dict(),
            "environment": self.env.state(),
            "episode_starts": self._last_episode_starts.tolist(),
            "episodes": list(self.ep_info_buffer),
            "random": _random_state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; `begin` comes after this."""
        self.num_timesteps = state["steps"]
        self._n_updates = state["updates"]
        self.history = state["history"]
        self.policy.load_state_dict(state["policy"])
        self.policy.optimizer.load_state_dict(state["optimiser"])
        self._last_obs = self.env.load_state(state["environment"])
        self._last_episode_starts = np.array(state["episode_starts"])
        self.ep_info_buffer = deque(state["episodes"], maxlen=self._stats_window_size)
        self.ep_success_buffer: deque[Any] = deque(maxlen=self._stats_window_size)  # none is told
        _set_random_state(state["random"])


def _random_state() -> dict[str, Any]:
    """Of the generators that Stable-Baselines3 seeds and draws from, which are the global ones."""
    of_numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    words = torch.from_numpy(of_numpy["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "numpy": {**of_numpy, "state": {**of_numpy["state"], "key": words}},
        "python": random.getstate(),
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    of_numpy = state["numpy"]
    words = of_numpy["state"]["key"].numpy().astype(np.uint32)
    words_and_place = {**of_numpy["state"], "key": words}
    np.random.set_state({**of_numpy, "state": words_and_place})  # noqa: NPY002
    random.setstate(state["python"])
