"""The environment a policy learns in: table look-ups in place of segmenter calls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from vesselrl.rl.actions import State
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcome, Outcomes
from vesselrl.rl.parameters import Judge


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
        self._paid_by = paid_by
        self._generators = [np.random.default_rng([seed, index]) for index in range(n_envs)]
        self._ahead: list[list[str]] = [[] for _ in range(n_envs)]
        self._sample = [""] * n_envs
        self._state: list[State] = [()] * n_envs
        self._step = [0] * n_envs
        self._return = [0.0] * n_envs
        self._actions: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment; observations float32 (n_envs, size)."""
        return np.stack([self._begin(index) for index in range(self.num_envs)])

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Take the actions, int (n_envs,) or (n_envs, parts)."""
        self._actions = np.asarray(actions).reshape(self.num_envs, -1)

    def step_wait(self) -> VecEnvStepReturn:
        """Observations (n_envs, size), rewards (n_envs,), dones (n_envs,), infos."""
        results = [self._advance(index) for index in range(self.num_envs)]
        observations, rewards, dones, infos = zip(*results, strict=True)
        return np.stack(observations), np.float32(rewards), np.array(dones), list(infos)

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, of plain values only.

        To be taken between two steps; `load_state` goes on from there. Each entry has one value an
        environment: ``generators`` (of the order of images), ``ahead`` (images still to come, the
        next one last), ``sample``, ``choices`` (the state of the episode), ``step``, ``return``.
        """
        return {
            "generators": [generator.bit_generator.state for generator in self._generators],
            "ahead": [list(samples) for samples in self._ahead],
            "sample": list(self._sample),
            "choices": [[list(choice) for choice in state] for state in self._state],
            "step": list(self._step),
            "return": list(self._return),
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
        self._sample = list(state["sample"])
        self._state = [tuple(tuple(choice) for choice in choices) for choices in state["choices"]]
        self._step = list(state["step"])
        self._return = list(state["return"])
        return np.stack([self._observe(index) for index in range(self.num_envs)])

    def _begin(self, index: int) -> npt.NDArray[np.float32]:
        if not self._ahead[index]:
            order = self._generators[index].permutation(len(self._outcomes.samples))
            self._ahead[index] = [self._outcomes.samples[i] for i in order]
        self._sample[index] = self._ahead[index].pop()
        self._state[index], self._step[index], self._return[index] = (), 0, 0.0
        return self._observe(index)

    def _advance(self, index: int) -> tuple[npt.NDArray[np.float32], float, bool, dict[str, Any]]:
        sample, before = self._sample[index], self._state[index]
        choice = tuple(int(part) for part in self._actions[index])
        self._state[index] = self._outcomes.rules.extend(before, choice)
        self._step[index] += 1
        outcome = self._outcomes.of(sample, self._state[index])
        reward = self._paid(outcome) - self._paid(self._outcomes.of(sample, before))
        self._return[index] += reward
        observation = self._observe(index)
        done = self._step[index] == self._outcomes.rules.length
        info: dict[str, Any] = {"TimeLimit.truncated": False}
        if done:
            info |= {
                "episode": {"r": self._return[index], "l": self._step[index]},
                "terminal_observation": observation,
                "sample": sample,
                "state": self._state[index],
                "gt_dice": outcome.true["dice"],
                "reward_net_score": outcome.predicted["dice"],
                "gold": self._outcomes.objective_of(outcome.true),
                "proxy": self._outcomes.objective_of(outcome.predicted),
            }
            observation = self._begin(index)
        return observation, reward, done, info

    def _paid(self, outcome: Outcome) -> float:
        scores = outcome.true if self._paid_by == "ground_truth" else outcome.predicted
        return self._outcomes.objective_of(scores)

    def _observe(self, index: int) -> npt.NDArray[np.float32]:
        sample = self._sample[index]
        return self._observer(
            self._outcomes.image_features(sample),
            lambda: self._outcomes.mask_features(sample, self._state[index]),
            self._step[index],
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
