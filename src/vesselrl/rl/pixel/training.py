"""Training of one policy by reward, under the guard of gold."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, stack

from vesselrl.checkpoints import Checkpoints
from vesselrl.networks.data_parallel import Share, SharedCheckpoints
from vesselrl.rl.looks import kept, over_optimisation, reason_to_end
from vesselrl.rl.pixel.guard import Guard, Policy
from vesselrl.rl.pixel.parameters import LearningParameters
from vesselrl.rl.pixel.ppo import Step
from vesselrl.rl.run_folder import STATE

Row = dict[str, float]
State = Mapping[str, Any]
Tell = Callable[[Sequence[Row]], None]
Progress = Callable[[int], None]


class PolicyLearner(Protocol):
    """A `vesselrl.networks.learning.Learner` of images of a kind that it knows.

    Attributes:
        iteration: batches learnt from.
    """

    iteration: int

    def step(self, unlabelled: Any, labelled: Any) -> Step:
        """Learn from one batch of images judged by the reward, and of others by their truth."""

    def network(self) -> Policy:
        """The averaged policy as it is now; it may change with the next step."""

    def averaged(self) -> dict[str, Tensor]:
        """The weights of `network`."""

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, of tensors and plain values."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""


@dataclass(frozen=True)
class Learned:
    """What came of a learner.

    Attributes:
        weights: those of its averaged ones that scored best on validation images; these may be the
            start's.
        history: one row a look: steps (batches), loss, ep_rew_mean (of the masks drawn since the
            last look), kl, and what `Guard.look` tells; the first row is the start.
        result: steps, ended (why), kept_step, seconds, iterations_per_second, val_dice, gained (of
            the true objective, over the start); what `over_optimisation` tells.
    """

    weights: dict[str, Tensor]
    history: list[Row]
    result: dict[str, Any]


def learn(
    learner: PolicyLearner,
    unlabelled: Any,
    labelled: Any,
    guard: Guard,
    parameters: LearningParameters,
    checkpoints: Checkpoints,
    fingerprint: str,
    tell: Tell = lambda history: None,
    progress: Progress = lambda iteration: None,
) -> State:
    """Let a learner learn, and keep what scored best, in truth, on validation images.

    An interrupted training goes on at its last look and ends, on the same device, in the same
    weights.

    Args:
        learner: as it is before its first step.
        unlabelled: images judged by the reward.
        labelled: images judged by their truth.
        guard: which images are looked at, and who judges them. Without validation images the last
            policy is kept.
        parameters: how long, and how often there is a look.
        checkpoints: where the state is kept at every look.
        fingerprint: of data and parameters.
        tell: called with the history after every look, and when a training goes on.
        progress: called with the number of batches learnt from.

    Returns:
        The state at the last look, of which `learned` tells.
    """
    share = Share.own()
    checkpoints = SharedCheckpoints(checkpoints, share)
    history: list[Row] = []
    best: dict[str, Any] = {}
    started = time.perf_counter()
    if saved := checkpoints.load(STATE, fingerprint):
        learner.load_state(saved["learner"])
        history, best = saved["history"], saved["best"]
        started -= saved["seconds"]
        tell(history)

    def look(steps: Sequence[Step]) -> State:
        nonlocal best
        seen = _means(steps) | guard.look(learner.network())
        agreed = {name: share.mean(value) for name, value in seen.items()}
        history.append({"steps": learner.iteration, **agreed})
        if kept(history) in (history[-1], None):
            best = deepcopy(learner.averaged())
        tell(history)
        state = {
            "learner": learner.state(),
            "history": history,
            "best": best,
            "seconds": time.perf_counter() - started,
        }
        checkpoints.save(STATE, fingerprint, state)
        return state

    progress(learner.iteration)
    state = saved or look([])
    while not _reason_to_end(history, parameters):
        due = min(
            parameters.check_every - learner.iteration % parameters.check_every,
            parameters.iterations - learner.iteration,
        )
        steps = []
        for _ in range(due):
            steps.append(learner.step(unlabelled, labelled))
            progress(learner.iteration)
        state = look(steps)
    return state


def learned(parameters: LearningParameters, state: State) -> Learned:
    """What came of a learner, told from its last state; see `learn`."""
    history, seconds = state["history"], state["seconds"]
    row: Mapping[str, float] = kept(history) or history[-1]
    steps = int(history[-1]["steps"])
    return Learned(
        state["best"],
        history,
        {
            "steps": steps,
            "ended": _reason_to_end(history, parameters),
            "kept_step": int(row["steps"]),
            "seconds": round(seconds, 3),
            "iterations_per_second": round(steps / seconds, 2),
            "val_dice": row.get("val_dice"),
            "gained": row["val_gold"] - history[0]["val_gold"] if "val_gold" in row else None,
            **over_optimisation(history, "reward_network"),
        },
    )


def _means(steps: Sequence[Step]) -> Row:
    if not steps:
        return {}
    loss, reward, kl = (float(stack(column).mean()) for column in zip(*steps, strict=True))
    return {"loss": loss, "ep_rew_mean": reward, "kl": kl}


def _reason_to_end(history: Sequence[Row], parameters: LearningParameters) -> str:
    steps = int(history[-1]["steps"])
    return reason_to_end(history, steps, parameters.iterations, parameters.patience)
