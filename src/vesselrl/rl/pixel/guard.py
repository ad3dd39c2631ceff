"""The guard of RL on a segmenter's weights: what the reward says beside what is true."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import objective_of
from vesselrl.reward.closed_form import Probability, expected_scores
from vesselrl.rl.pixel.reward_maps import q_of

View = tuple[Any, Probability]
"""What a policy sees of an image, and where its truth is or may be, float32 (M, H, W)."""
Loader = Callable[[], View]
THRESHOLD = 0.5
"""Of the likeliest mask of a policy that decides each pixel by itself."""
FEW = 40
"""At most so many unlabelled images are looked at."""


Reward = Callable[[], Mapping[str, npt.NDArray[np.uint8]]]
"""Loader of ``rewarded``, see `vesselrl.rl.pixel.reward_maps`."""


def validation_view(
    image: Callable[[], Any], mask: Callable[[], npt.NDArray[np.bool_]], reward: Reward
) -> View:
    """An image with its truth and then the reward's ``q``."""
    truth = mask().astype(np.float32)
    return image(), np.stack([truth, q_of(reward()["rewarded"], truth.shape)])


def unlabelled_view(reward: Reward, image: Callable[[], Any] | None = None) -> View:
    """An image with ``q``; without a loader the grey one to which the reward was given."""
    rewarded = reward()["rewarded"]
    seen = image() if image else rewarded[0]
    return seen, q_of(rewarded, seen.shape)[None]


class Policy(Protocol):
    """A segmenter in training, as it is at a look."""

    def probability(self, image: Any, /) -> Probability:
        """Its map, float32 (H, W) in [0, 1], of what it sees: an image, uint8 (H, W [, 3])."""


@dataclass(frozen=True)
class Guard:
    """Looks at whole images now and then; see `vesselrl.rl.looks`. The first look is at the start.

    Attributes:
        validation: images of other patients than those learnt from, with their truth and then with
            the reward's ``q``.
        unlabelled: images learnt from, with ``q``; an even choice of them is looked at.
        objective: the scores whose mean is paid.
    """

    validation: Sequence[Loader]
    unlabelled: Sequence[Loader]
    objective: Sequence[str]

    def look(self, policy: Policy) -> dict[str, float]:
        """Mean scores of the likeliest masks of a policy.

        Returns:
            Of validation images ``val_dice`` and ``val_gold``, the true Dice and objective, and
            ``val_proxy``, the objective as the reward predicts it; of unlabelled images ``proxy``.
            What there are no images for is left out.
        """
        step = -(-len(self.unlabelled) // FEW) or 1
        row = {}
        if self.validation:
            dice, objective = self._mean_scores(policy, self.validation)
            row = {"val_dice": dice[0], "val_gold": objective[0], "val_proxy": objective[1]}
        if self.unlabelled:
            _, objective = self._mean_scores(policy, self.unlabelled[::step])
            row["proxy"] = objective[0]
        return {name: float(value) for name, value in row.items()}

    def _mean_scores(self, policy: Policy, views: Sequence[Loader]) -> Any:
        """Dice and objective in the eyes of each who judges, float64 (2, M)."""
        found = []
        for load in views:
            image, opinions = load()
            mask = policy.probability(image) > THRESHOLD
            scores = expected_scores(mask[None], opinions)
            found.append([scores["dice"][0], objective_of(scores, self.objective)[0]])
        return np.mean(found, axis=0)
