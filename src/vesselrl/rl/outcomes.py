"""What choices lead to, computed once: the mask's scores and features for every state visited."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vesselrl.rl.actions import Rules, State
from vesselrl.rl.observations import Features, image_features, mask_features
from vesselrl.rl.scenes import Scene

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """One mask, judged.

    Attributes:
        features: float32 (8,), see `vesselrl.rl.observations.mask_features`.
        true: scores against the ground truth: dice, recall, precision.
        predicted: the reward network's estimates of the same.
    """

    features: Features
    true: Scores
    predicted: Scores


class Outcomes:
    """Outcomes of some images under the rules of an experiment, remembered once computed."""

    def __init__(self, samples: Sequence[str], load: Callable[[str], Scene], rules: Rules) -> None:
        self.samples = tuple(samples)
        self.rules = rules
        self._load = load
        self.image_features = cache(lambda sample: image_features(load(sample).image))
        self.of = cache(self._of)

    def _of(self, sample: str, state: State) -> Outcome:
        scene = self._load(sample)
        mask, probability = self.rules.answer(scene.probabilities, state)
        return Outcome(
            features=mask_features(mask, probability),
            true={name: float(score[0]) for name, score in scene.true_scores(mask[None]).items()},
            predicted={
                name: float(score[0]) for name, score in scene.predicted_scores(mask[None]).items()
            },
        )


def mean_score(scores: Scores, objective: Sequence[str]) -> float:
    """The objective: the mean of the scores it names."""
    return float(np.mean([scores[name] for name in objective]))
