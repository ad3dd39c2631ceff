"""What choices lead to, computed once: the mask's scores and features for every state visited."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from vesselrl.rl.actions import Rules, State
from vesselrl.rl.observations import FeatureFunction, Features, image_features, mask_features
from vesselrl.rl.operations import Mask, Probability
from vesselrl.rl.scenes import Scene

Scores = Mapping[str, float]


class Outcome(NamedTuple):
    """The scores of one mask, each a mapping with dice, recall, precision.

    Attributes:
        true: against the ground truth.
        predicted: the reward network's estimates.
    """

    true: Scores
    predicted: Scores


class Outcomes:
    """Outcomes of some images under the rules of an experiment, remembered once computed.

    Args:
        samples: ids of the images.
        load: gives the scene of an image.
        rules: how choices become masks.
        objective: names of the scores whose mean a mask is worth.
        see: image → its features, see `vesselrl.rl.observations.feature_function`.

    Attributes:
        of: (sample, state) → `Outcome`.
        image_features: sample → float32 (F,), what `see` gives.
        mask_features: (sample, state) → float32 (8,), see `vesselrl.rl.observations`.
    """

    def __init__(
        self,
        samples: Sequence[str],
        load: Callable[[str], Scene],
        rules: Rules,
        objective: Sequence[str],
        see: FeatureFunction = image_features,
    ) -> None:
        self.samples = tuple(samples)
        self.rules = rules
        self.objective = tuple(objective)
        self._load = load
        self.image_features = cache(lambda sample: see(load(sample).image))
        self.mask_features = cache(self._mask_features)
        self.of = cache(self._of)
        # A mask is wanted for its features and for its scores, one soon after the other.
        self._answer = lru_cache(maxsize=256)(self._answer_anew)

    def objective_of(self, scores: Scores) -> float:
        """The mean of the objective's scores."""
        return sum(scores[name] for name in self.objective) / len(self.objective)

    def _of(self, sample: str, state: State) -> Outcome:
        scene = self._load(sample)
        mask, _ = self._answer(sample, state)
        scores = scene.true_scores(mask[None]), scene.predicted_scores(mask[None])
        return Outcome(*({name: float(value[0]) for name, value in s.items()} for s in scores))

    def _mask_features(self, sample: str, state: State) -> Features:
        return mask_features(*self._answer(sample, state))

    def _answer_anew(self, sample: str, state: State) -> tuple[Mask, Probability]:
        return self.rules.answer(self._load(sample).probabilities, state)
