"""The environment a policy learns in: table look-ups in place of segmenter calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from vesselrl.rl.actions import Choice, State
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcome, Outcomes
from vesselrl.rl.parameters import Judge


@dataclass
class _Episode:
    """Where an environment stands: `outcome` of the last mask, `gain` the rewards so far."""

    sample: str
    outcome: Outcome
    state: State = ()
    step: int = 0
    gain: float = 0.0


class CandidateVecEnv(VecEnv):
    """A batch of episodes over stored candidates.

    An episode shows one image. Each action extends the state (`vesselrl.rl.actions`); its reward is
    the rise of the objective over the mask before, so an episode's return is the gain over the
    default answer, and an image that is easy for every policy pays nobody. Each environment walks
    through all images in random order before it sees one again.

    ``infos`` follow Stable-Baselines3's contract; at an episode's end they also hold ``sample``,
    ``state`` and, of its last mask, ``gt_dice``, ``reward_net_score`` (the predicted Dice),
    ``gold`` and ``proxy`` (the objective, true and predicted).

    Args:
        outcomes: the images and what choices lead to.
        observer: makes observations of features.
        paid_by: who judges the masks that are paid for.
        n_envs: number of environments.
        seed: fixes the order of the images.
    """

    render_mode = None

    def __init__(
        self, outcomes: Outcomes, observer: Observer, paid_by: Judge, n_envs: int, seed: int
    ) -> None:
        choices = outcomes.rules.choices
        super().__init__(
            n_envs,
            spaces.Box(-np.inf, np.inf, (observer.size,), np.float32),
            spaces.MultiDiscrete(choices) if len(choices) > 1 else spaces.Discrete(choices[0]),
        )
        self._outcomes = outcomes
        self._observer = observer
        self._paid = attrgetter("gold" if paid_by == "ground_truth" else "proxy")
        self._generators = [np.random.default_rng([seed, index]) for index in range(n_envs)]
        self._ahead: list[list[str]] = [[] for _ in range(n_envs)]
        self._episodes: list[_Episode] = []
        self._actions: list[Choice] = []
        self._observe = cache(self._observe_anew)

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment; observations float32 (n_envs, size)."""
        self._episodes = [self._next_episode(index) for index in range(self.num_envs)]
        return self._observations()

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Take the actions, int (n_envs,) or (n_envs, parts)."""
        rows = np.asarray(actions).reshape(self.num_envs, -1).tolist()
        self._actions = [tuple(row) for row in rows]

    def step_wait(self) -> VecEnvStepReturn:
        """Observations (n_envs, size), rewards (n_envs,), dones (n_envs,), infos."""
        rewards, infos = zip(*map(self._advance, self._episodes, self._actions), strict=True)
        dones = [episode.step == self._outcomes.rules.length for episode in self._episodes]
        for index, done in enumerate(dones):
            if done:
                infos[index].update(self._ending(self._episodes[index]))
                self._episodes[index] = self._next_episode(index)
        return self._observations(), np.array(rewards, np.float32), np.array(dones), list(infos)

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, of plain values only.

        To be taken between two steps; `load_state` goes on from there. Each entry has one value an
        environment: ``generators`` (of the order of images), ``ahead`` (images still to come, the
        next one last), and of the episode ``sample``, ``choices``, ``step`` and ``gain``.
        """
        return {
            "generators": [generator.bit_generator.state for generator in self._generators],
            "ahead": [list(samples) for samples in self._ahead],
            "sample": [episode.sample for episode in self._episodes],
            "choices": [list(map(list, episode.state)) for episode in self._episodes],
            "step": [episode.step for episode in self._episodes],
            "gain": [episode.gain for episode in self._episodes],
        }

    def load_state(self, state: Mapping[str, Any]) -> VecEnvObs:
        """Go on where `state` was taken, in place of a reset.

        Returns:
            The observations that the next actions answer, float32 (n_envs, size).

        Raises:
            ValueError: it is of another number of environments, or of other images.
        """
        if len(state["sample"]) != self.num_envs:
            raise ValueError(
                f"The state is of {len(state['sample'])} environments, here are {self.num_envs}: "
                "n_envs must be what it was."
            )
        named = {*state["sample"]}.union(*state["ahead"])
        if unknown := sorted(named.difference(self._outcomes.samples)):
            raise ValueError(
                f"The state is of other images: '{unknown[0]}' is not among the "
                f"{len(self._outcomes.samples)} here."
            )
        for generator, words in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = words
        self._ahead = [list(samples) for samples in state["ahead"]]
        self._episodes = [
            _Episode(sample, self._outcomes.of(sample, choices), choices, step, gain)
            for sample, choices, step, gain in zip(
                state["sample"],
                [tuple(map(tuple, choices)) for choices in state["choices"]],
                state["step"],
                state["gain"],
                strict=True,
            )
        ]
        return self._observations()

    def _next_episode(self, index: int) -> _Episode:
        if not self._ahead[index]:
            order = self._generators[index].permutation(len(self._outcomes.samples))
            self._ahead[index] = [self._outcomes.samples[i] for i in order]
        sample = self._ahead[index].pop()
        return _Episode(sample, self._outcomes.of(sample, ()))

    def _advance(self, episode: _Episode, choice: Choice) -> tuple[float, dict[str, Any]]:
        before = self._paid(episode.outcome)
        episode.state = self._outcomes.rules.extend(episode.state, choice)
        episode.outcome = self._outcomes.of(episode.sample, episode.state)
        episode.step += 1
        reward = self._paid(episode.outcome) - before
        episode.gain += reward
        return reward, {"TimeLimit.truncated": False}

    def _ending(self, episode: _Episode) -> dict[str, Any]:
        """What ``infos`` tell of a finished episode."""
        outcome = episode.outcome
        return {
            "episode": {"r": episode.gain, "l": episode.step},
            "terminal_observation": self._observation(episode).copy(),
            "sample": episode.sample,
            "state": episode.state,
            "gt_dice": outcome.true["dice"],
            "reward_net_score": outcome.predicted["dice"],
            "gold": outcome.gold,
            "proxy": outcome.proxy,
        }

    def _observations(self) -> npt.NDArray[np.float32]:
        return np.array([self._observation(episode) for episode in self._episodes])

    def _observation(self, episode: _Episode) -> npt.NDArray[np.float32]:
        # Where no mask is seen all states look alike: one array an image is kept, not one a state.
        seen = (episode.state, episode.step) if self._observer.sees_masks else ((), 0)
        return self._observe(episode.sample, *seen)

    def _observe_anew(self, sample: str, state: State, step: int) -> npt.NDArray[np.float32]:
        return self._observer(
            self._outcomes.image_features(sample),
            lambda: self._outcomes.mask_features(sample, state),
            step,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute, the same for every environment."""
        return [getattr(self, attr_name)] * len(self._indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: the environments share everything but their episodes."""
        raise NotImplementedError("A CandidateVecEnv has no attribute of a single environment.")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Refused: there is no object per environment."""
        raise NotImplementedError("A CandidateVecEnv has no method of a single environment.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No environment is wrapped."""
        return [False] * len(self._indices(indices))

    def _indices(self, indices: int | Sequence[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))
