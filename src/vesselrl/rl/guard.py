"""The guard against over-optimisation: now and then a look at the truth of validation images."""

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np

from vesselrl.rl.actions import State
from vesselrl.rl.looks import LOOK_TAGS, kept
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.policy import Policy
from vesselrl.rl.ppo import SteppedPPO


def greedy_states(policy: Policy, outcomes: Outcomes) -> dict[str, State]:
    """Sample → the state at the end of its greedy episode."""
    return {
        sample: policy.decide(
            outcomes.image_features(sample), partial(outcomes.mask_features, sample)
        )[-1]
        for sample in outcomes.samples
    }


class GoldGuard:
    """Scores the greedy policy on validation images, and keeps the best policy so far.

    Best by gold, see `vesselrl.rl.looks`.

    Args:
        observer: what the policy sees.
        validation: images of other patients than those learnt from; may be none.

    Attributes:
        best: weights of the policy with the best gold objective, None before the first look.
    """

    def __init__(self, observer: Observer, validation: Outcomes) -> None:
        self._observer = observer
        self._validation = validation
        self.best: dict[str, Any] | None = None

    def look(self, model: SteppedPPO) -> None:
        """Add gold and proxy of validation images to the last row of the model's history."""
        if not self._validation.samples:
            return
        policy = Policy.of(model, self._validation.rules, self._observer)
        found = [
            self._validation.of(sample, state)
            for sample, state in greedy_states(policy, self._validation).items()
        ]
        row = {
            "val_dice": float(np.mean([outcome.true["dice"] for outcome in found])),
            "val_gold": float(np.mean([outcome.gold for outcome in found])),
            "val_proxy": float(np.mean([outcome.proxy for outcome in found])),
        }
        model.history[-1].update(row)
        for tag, column in LOOK_TAGS.items():
            model.logger.record(tag, row[column])
        model.logger.dump(model.num_timesteps)
        if kept(model.history) is model.history[-1]:
            self.best = deepcopy(model.policy.state_dict())
