"""Training of one policy: a segmenter made better by reward, under the guard of gold."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from vesselrl.checkpoints import Checkpoints
from vesselrl.networks.augmentation import Augmentation
from vesselrl.networks.data_parallel import Share, SharedCheckpoints
from vesselrl.rl.looks import ALL_STEPS, is_exhausted, kept, over_optimisation
from vesselrl.rl.pixel.guard import Guard
from vesselrl.rl.pixel.parameters import PolicyParameters
from vesselrl.rl.pixel.training import PixelLearner, Step
from vesselrl.rl.run_folder import STATE
from vesselrl.segmenters.unet.fitting import Pool
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.threads import one_thread

Row = dict[str, float]
State = Mapping[str, Any]


@dataclass(frozen=True)
class TrainedSegmenter:
    """A segmenter trained by reward, and what is known of its training.

    Attributes:
        network: with the weights that scored best on validation images; these may be the start's.
        history: one row a look: steps (batches), loss, ep_rew_mean (of the masks drawn since the
            last look), kl, and what `Guard.look` tells; the first row is the start.
        result: steps, ended (why), kept_step, seconds, iterations_per_second, val_dice, gained (of
            the true objective, over the start); what `over_optimisation` tells.
    """

    network: SegmentationNetwork
    history: list[Row]
    result: dict[str, Any]


@one_thread()
def train_segmenter(
    start: SegmentationNetwork,
    unlabelled: Pool,
    labelled: Pool,
    guard: Guard,
    parameters: PolicyParameters,
    strength: Augmentation,
    objective: Sequence[str],
    seed: int,
    checkpoints: Checkpoints,
    fingerprint: str,
    tell: Callable[[Sequence[Row]], None] = lambda history: None,
    progress: Callable[[int], None] = lambda iteration: None,
) -> TrainedSegmenter:
    """Train a segmenter by reward and keep what scored best, in truth, on validation images.

    An interrupted training goes on at its last look and ends, on the same device, in the same
    weights.

    Args:
        start: the segmenter to begin with, on the device where to train.
        unlabelled: images judged by the reward, on that device, see `PixelLearner.step`.
        labelled: images judged by their truth.
        guard: which images are looked at, and who judges them. Without validation images the last
            policy is kept.
        parameters: of learning.
        strength: of the squares' augmentation.
        objective: the scores whose mean is paid.
        seed: of squares and masks.
        checkpoints: where the state is kept at every look.
        fingerprint: of data and parameters.
        tell: called with the history after every look, and when a training goes on.
        progress: called with the number of batches learnt from.

    Raises:
        VesselrlError: see `PixelLearner`.
    """
    device, share = next(start.module.parameters()).device, Share.own()
    checkpoints = SharedCheckpoints(checkpoints, share)
    learner = PixelLearner(start, parameters, strength, objective, seed, device)
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
        network = learner.network()
        seen = _means(steps) | guard.look(network)
        agreed = {name: share.mean(value) for name, value in seen.items()}
        history.append({"steps": learner.iteration, **agreed})
        if kept(history) in (history[-1], None):
            best = deepcopy(network.module.state_dict())
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
    return trained_segmenter(start, parameters, state)


def trained_segmenter(
    start: SegmentationNetwork, parameters: PolicyParameters, state: State
) -> TrainedSegmenter:
    """What came of a training, told from its last state.

    Args:
        start: the segmenter it began with.
        parameters: of learning.
        state: as `train_segmenter` left it in the checkpoints.
    """
    history, seconds = state["history"], state["seconds"]
    module = deepcopy(start.module)
    module.load_state_dict(state["best"])
    row: Mapping[str, float] = kept(history) or history[-1]
    steps = int(history[-1]["steps"])
    return TrainedSegmenter(
        SegmentationNetwork(module.eval(), start.architecture, start.max_side),
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
    loss, reward, kl = (float(torch.stack(column).mean()) for column in zip(*steps, strict=True))
    return {"loss": loss, "ep_rew_mean": reward, "kl": kl}


def _reason_to_end(history: Sequence[Row], parameters: PolicyParameters) -> str:
    if history[-1]["steps"] >= parameters.iterations:
        return ALL_STEPS
    if is_exhausted(history, parameters.patience):
        return f"no better validation score for {parameters.patience} looks"
    return ""
