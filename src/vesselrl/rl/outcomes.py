"""What choices lead to, computed once: the mask's scores and features for every state visited."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from vesselrl.metrics.masks import objective_of
from vesselrl.reward.scenes import Scene
from vesselrl.rl.actions import Rules, State
from vesselrl.rl.observations import Features, image_features, mask_features
from vesselrl.rl.operations import Mask, Probability

Scores = Mapping[str, float]

MASKS = 64
"""So many masks are kept for operations to go on from."""
NO_FEATURES: Features = np.empty(0, np.float32)


class Outcome(NamedTuple):
    """What is known of one mask.

    Attributes:
        true: dice, recall, precision against the ground truth.
        predicted: the reward network's estimates of them.
        gold: the objective by the truth.
        proxy: the objective by the reward network.
        features: float32 (8,), see `vesselrl.rl.observations`; of size 0 in experiments of one
            step, where nobody looks at a mask.
    """

    true: Scores
    predicted: Scores
    gold: float
    proxy: float
    features: Features


class Outcomes:
    """Outcomes of some images under the rules of an experiment, remembered once computed.

    Args:
        samples: ids of the images.
        load: gives the scene of an image.
        rules: how choices become masks.
        objective: names of the scores whose mean a mask is worth.
        see: id → the features of the image, see `vesselrl.rl.observations.feature_function`, for
            which no scene need be made; None: the handmade ones, of the scene's image.

    Attributes:
        of: (sample, state) → `Outcome`.
        image_features: sample → float32 (F,), what `see` gives.
    """

    def __init__(
        self,
        samples: Sequence[str],
        load: Callable[[str], Scene],
        rules: Rules,
        objective: Sequence[str],
        see: Callable[[str], Features] | None = None,
    ) -> None:
        self.samples = tuple(samples)
        self.rules = rules
        self.objective = tuple(objective)
        self._load = load
        self.image_features = cache(see or (lambda sample: image_features(load(sample).image)))
        self.of = cache(self._of)
        self._operated = lru_cache(MASKS)(self._operate)

    def mask_features(self, sample: str, state: State) -> Features:
        """The features of the mask that a state stands for, see `Outcome`."""
        return self.of(sample, state).features

    def _of(self, sample: str, state: State) -> Outcome:
        scene = self._load(sample)
        mask, probability = (
            self._operated(sample, state)
            if self.rules.chooses == "operations"
            else self.rules.answer(scene.probabilities, state)
        )
        scores = scene.true_scores(mask[None]), scene.predicted_scores(mask[None])
        true, predicted = ({name: float(value[0]) for name, value in s.items()} for s in scores)
        return Outcome(
            true,
            predicted,
            float(objective_of(true, self.objective)),
            float(objective_of(predicted, self.objective)),
            mask_features(mask, probability) if self.rules.length > 1 else NO_FEATURES,
        )

    def _operate(self, sample: str, state: State) -> tuple[Mask, Probability]:
        """What `Rules.answer` says, by one operation on the mask before instead of all of them."""
        if state:
            mask, probability = self._operated(sample, state[:-1])
            return self.rules.actions.operate(mask, probability, state[-1][0]), probability
        mask, probability = self.rules.answer(self._load(sample).probabilities, state)
        return mask, probability.copy()  # a view would keep the maps of all prompts in memory
