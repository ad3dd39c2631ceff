"""The plain environment: the segmenter and the reward network are asked while a policy learns.

This is what one writes who keeps nothing. `vesselrl.rl.environments.CandidateVecEnv` shows, pays
and tells the same, step for step, from what is kept; the tests compare the two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Env, spaces

from vesselrl.metrics.masks import objective_of, overlap_scores
from vesselrl.reward.network import RewardNetwork, mean_candidate
from vesselrl.rl.actions import Rules, State
from vesselrl.rl.observations import (
    FeatureFunction,
    Features,
    Observer,
    image_features,
    mask_features,
)
from vesselrl.rl.operations import Mask
from vesselrl.rl.parameters import Judge
from vesselrl.segmenters.base import Segmenter
from vesselrl.segmenters.candidates import make_candidates
from vesselrl.segmenters.levels import from_levels


class SegmentationEnv(Env[Features, Any]):
    """One image an episode, segmented and judged in the loop.

    Episodes, rewards and what ``info`` tells at their end are those of `CandidateVecEnv`.

    An episode begins with an image and nothing else. Within it each prompt is asked once, when a
    mask first needs its map; several that are needed together are asked in one call, which is one
    pass of the segmenter's encoder. The reward network reads the mean of all prompts' maps: where
    it pays, all prompts are asked at the beginning, in one call. Where the truth pays, it is asked
    at the end of an episode, for ``info``. Maps are rounded as stored ones are
    (`vesselrl.segmenters.levels`). With the episode all this is forgotten.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        truths: sample id → loader of bool (H, W).
        segmenter: answers the prompts of ``rules.actions``.
        network: judges masks without the truth.
        rules: how choices become masks.
        objective: names of the scores whose mean a mask is worth.
        observer: makes observations of features.
        paid_by: who judges the masks that are paid for.
        see: image → its features, see `vesselrl.rl.observations.feature_function`.
    """

    def __init__(
        self,
        images: Mapping[str, Callable[[], npt.NDArray[np.uint8]]],
        truths: Mapping[str, Callable[[], Mask]],
        segmenter: Segmenter,
        network: RewardNetwork,
        rules: Rules,
        objective: Sequence[str],
        observer: Observer,
        paid_by: Judge,
        see: FeatureFunction = image_features,
    ) -> None:
        choices = rules.choices
        self.observation_space = spaces.Box(-np.inf, np.inf, (observer.size,), np.float32)
        self.action_space = (
            spaces.MultiDiscrete(choices) if len(choices) > 1 else spaces.Discrete(choices[0])
        )
        self._images = images
        self._truths = truths
        self._segmenter = segmenter
        self._network = network
        self._rules = rules
        self._objective = tuple(objective)
        self._observer = observer
        self._paid_by = paid_by
        self._see = see
        self._ahead: list[str] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, dict[str, Any]]:
        """Show the next image; a seed begins a new walk through all of them.

        Returns:
            The observation, float32 (size,), and an empty ``info``.
        """
        super().reset(seed=seed)
        if seed is not None or not self._ahead:
            samples = list(self._images)
            self._ahead = [samples[i] for i in self.np_random.permutation(len(samples))]
        self._sample = self._ahead.pop()
        self._image = self._images[self._sample]()
        self._truth = self._truths[self._sample]()
        self._features = self._see(self._image)
        prompts = len(self._rules.actions.prompts)
        self._maps = np.full((prompts, *self._image.shape[:2]), np.nan, np.float32)
        self._asked: set[int] = set()
        self._opinions: npt.NDArray[np.float32] | None = None
        self._step = 0
        self._gain = 0.0
        if self._paid_by == "reward_network":
            self._ask(range(prompts))
        self._enter(())
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Features, float, bool, bool, dict[str, Any]]:
        """Extend the state by an action, an int or ints (parts,).

        Returns:
            The observation, the rise of the objective, whether the episode is over, False, and at
            its end what it led to.
        """
        choice = tuple(int(part) for part in np.atleast_1d(action))
        before = self._worth
        self._enter(self._rules.extend(self._state, choice))
        self._step += 1
        reward = self._worth - before
        self._gain += reward
        over = self._step == self._rules.length
        return self._observe(), reward, over, False, self._result() if over else {}

    def _ask(self, prompts: Iterable[int]) -> None:
        """Have the maps of these prompts, in one call of the segmenter if any is missing."""
        if missing := sorted({*prompts} - self._asked):
            names = [self._rules.actions.prompts[prompt] for prompt in missing]
            answer = make_candidates(self._sample, self._image, self._segmenter, names)
            self._maps[missing] = from_levels(answer["levels"])
            self._asked.update(missing)

    def _enter(self, state: State) -> None:
        """Make the mask that a state stands for, and judge it."""
        self._state = state
        self._ask(self._rules.prompts_used(state))
        self._mask, self._probability = self._rules.answer(self._maps, state)
        scores = self._true() if self._paid_by == "ground_truth" else self._predicted()
        self._worth = objective_of(scores, self._objective)

    def _observe(self) -> Features:
        return self._observer(
            self._features, lambda: mask_features(self._mask, self._probability), self._step
        )

    def _true(self) -> dict[str, float]:
        return _first(overlap_scores(self._mask[None], self._truth))

    def _predicted(self) -> dict[str, float]:
        if self._opinions is None:
            self._ask(range(len(self._maps)))
            self._opinions = self._network.opinions(self._image, mean_candidate(self._maps))
        return _first(self._network.scoring.scores(self._mask[None], self._opinions))

    def _result(self) -> dict[str, Any]:
        true, predicted = self._true(), self._predicted()
        return {
            "episode": {"r": self._gain, "l": self._step},
            "sample": self._sample,
            "state": self._state,
            "gt_dice": true["dice"],
            "reward_net_score": predicted["dice"],
            "gold": objective_of(true, self._objective),
            "proxy": objective_of(predicted, self._objective),
        }


def _first(scores: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """The scores of the first mask."""
    return {name: float(score[0]) for name, score in scores.items()}
