"""The guard against over-optimisation: now and then a look at the truth of validation images."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np

from vesselrl.rl.actions import State
from vesselrl.rl.observations import Observer
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.parameters import Judge
from vesselrl.rl.policy import Policy
from vesselrl.rl.ppo import SteppedPPO

TAGS = {
    "custom/val_dice": "val_dice",
    "custom/val_objective": "val_gold",
    "custom/val_proxy_objective": "val_proxy",
}
"""TensorBoard tag → column of the history, filled at the updates after which there was a look."""
TOLERANCE = 0.01
"""Gold objective that may be lost from its best before the loss counts as more than noise."""

Row = Mapping[str, float]


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

    What a policy is paid for, the proxy, goes on rising when the truth, gold, has begun to fall
    (Gao, Schulman and Hilton, "Scaling laws for reward model overoptimization", ICML 2023). So gold
    decides which policy is kept and when there is no use in going on.

    Args:
        observer: what the policy sees.
        validation: images of other patients than those learnt from; may be none.
        patience: looks without a better gold objective after which training ends.

    Attributes:
        best: weights of the policy with the best gold objective, None before the first look.
    """

    def __init__(self, observer: Observer, validation: Outcomes, patience: int) -> None:
        self._observer = observer
        self._validation = validation
        self._patience = patience
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
        objective = self._validation.objective_of
        row = {
            "val_dice": float(np.mean([outcome.true["dice"] for outcome in found])),
            "val_gold": float(np.mean([objective(outcome.true) for outcome in found])),
            "val_proxy": float(np.mean([objective(outcome.predicted) for outcome in found])),
        }
        model.history[-1].update(row)
        for tag, column in TAGS.items():
            model.logger.record(tag, row[column])
        model.logger.dump(model.num_timesteps)
        if kept(model.history) is model.history[-1]:
            self.best = deepcopy(model.policy.state_dict())

    def is_exhausted(self, history: Sequence[Row]) -> bool:
        """Whether the last looks, as many as `patience`, brought nothing better."""
        gold = [row["val_gold"] for row in _looks(history)]
        return bool(gold) and len(gold) - 1 - gold.index(max(gold)) >= self._patience


def kept(history: Sequence[Row]) -> Row | None:
    """The row whose policy is kept: the best gold, of equals the one that has learned longer.

    None without validation images.
    """
    return max(_looks(history), key=lambda row: (row["val_gold"], row["steps"]), default=None)


def over_optimisation(history: Sequence[Row], paid_by: Judge) -> dict[str, Any]:
    """Whether the policy learned to please the reward network at the truth's expense.

    It did if the reward network paid and, on validation images, gold at the last look is lower than
    at the best by more than `TOLERANCE` while the proxy is higher.

    Returns:
        ``overoptimised``, and the objective it rests on: ``gold_best``, ``gold_last``,
        ``proxy_at_best``, ``proxy_last``; each None without validation images.
    """
    best = kept(history)
    if best is None:
        names = ("overoptimised", "gold_best", "gold_last", "proxy_at_best", "proxy_last")
        return dict.fromkeys(names)
    last = _looks(history)[-1]
    return {
        "overoptimised": paid_by == "reward_network"
        and best["val_gold"] - last["val_gold"] > TOLERANCE
        and last["val_proxy"] > best["val_proxy"],
        "gold_best": best["val_gold"],
        "gold_last": last["val_gold"],
        "proxy_at_best": best["val_proxy"],
        "proxy_last": last["val_proxy"],
    }


def _looks(history: Sequence[Row]) -> list[Row]:
    return [row for row in history if "val_gold" in row]
