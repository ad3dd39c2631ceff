"""Training of several networks side by side: checked, resumable, the best weights of each kept."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vesselrl.checkpoints import Checkpoints
from vesselrl.devices import best_device
from vesselrl.early_stopping import is_exhausted
from vesselrl.errors import VesselrlError
from vesselrl.metrics.masks import overlap_scores
from vesselrl.networks.augmentation import Augmentation
from vesselrl.networks.data_parallel import Share
from vesselrl.networks.learning import Pool
from vesselrl.networks.trainings import SideBySide, spread
from vesselrl.parameters import Teams
from vesselrl.segmenters.unet.fitting import SegmenterLearner
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import TrainingParameters
from vesselrl.segmenters.unet.start import Weights

NO_LIMIT = 10**9  # examples have the working size already

Records = list[dict[str, Any]]
State = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One network to be trained.

    Attributes:
        pools: what to learn from; each gives an equal part of every batch.
        seed: of drawn weights, squares and light.
        start: weights to start from; None for drawn ones.
    """

    pools: Sequence[Pool]
    seed: int
    start: Weights | None


def train_networks(
    tasks: Mapping[str, Task],
    validation: Pool,
    parameters: TrainingParameters,
    strength: Augmentation,
    checkpoints: Checkpoints,
    fingerprint: str,
    devices: Teams = None,
) -> tuple[dict[str, "Trained"], Records]:
    """Train networks that do not depend on each other.

    Of each network the averaged weights are kept of the check with the best Dice on validation
    images. An interrupted training goes on at its last check and ends, on the same device, in the
    same weights.

    Args:
        tasks: by the networks' names.
        validation: images of other patients than those learned from, with their truth.
        parameters: size and length of each training.
        strength: of the augmentation.
        checkpoints: where the state of each network is kept at every check.
        fingerprint: of the data and the parameters.
        devices: to which the networks are dealt; the weights are the same on any number of them,
            but for the order of summation where several train one network.

    Returns:
        The trained, and their history: network, iteration, loss, val_dice, seconds (since the
        network's training began, those before an interruption included).

    Raises:
        VesselrlError: there are no images to learn from, or none to check on; or a batch cannot be
            shared by the devices.
    """
    sizes = {"train": min(len(task.pools[0]) for task in tasks.values()), "val": len(validation)}
    for split, size in sizes.items():
        if not size:
            raise VesselrlError(
                f"The split '{split}' has no images, and the segmenter's networks need training "
                "images to learn from and validation images of other patients to be checked on: "
                "annotate more groups, or change split.fractions or splits.json."
            )
    job = SideBySide(_Class(tasks, validation, parameters, strength), checkpoints, fingerprint)
    spread(job, list(tasks), devices, f"Training {', '.join(tasks)}", parameters.iterations)
    states = {name: checkpoints.load(name, fingerprint) or {} for name in tasks}
    trained = {
        name: Trained(parameters, state["stages"], state["records"])
        for name, state in states.items()
    }
    history = [
        {"network": name, **record} for name, one in trained.items() for record in one.records
    ]
    return trained, history


@dataclass(frozen=True)
class Trained:
    """One network when its training has ended.

    Attributes:
        parameters: of its training.
        stages: iteration of each check → weights then, on the CPU.
        records: of each check iteration, loss, val_dice and seconds since training began.
    """

    parameters: TrainingParameters
    stages: Mapping[int, State]
    records: Records

    def network(self, max_side: int, stage: int | None = None) -> State:
        """State of a `SegmentationNetwork`: of a check, or of the first with the best Dice."""
        if stage is None:
            stage = max(self.records, key=lambda record: record["val_dice"])["iteration"]
        return {
            "weights": {key: tensor.clone() for key, tensor in self.stages[stage].items()},
            "features": list(self.parameters.features),
            "downscale": self.parameters.downscale,
            "norm": self.parameters.norm,
            "max_side": max_side,
        }


@dataclass(frozen=True)
class _Class:
    """Makes the trainees, in whichever process, by their names."""

    tasks: Mapping[str, Task]
    validation: Pool
    parameters: TrainingParameters
    strength: Augmentation

    def __call__(self, name: str) -> "Trainee":
        return Trainee(
            self.tasks[name], self.validation, self.parameters, self.strength, best_device()
        )


class Trainee:
    """One network in training.

    Attributes:
        stages: iteration of each check → weights then, on the CPU.
        records: of each check iteration, loss, val_dice and seconds since training began.
    """

    def __init__(
        self,
        task: Task,
        validation: Pool,
        parameters: TrainingParameters,
        strength: Augmentation,
        device: torch.device,
    ) -> None:
        self.stages: dict[int, State] = {}
        self.records: Records = []
        self._began = time.perf_counter()
        self._task = task
        self._validation = validation
        self._parameters = parameters
        self._losses: list[Tensor] = []
        self._learner = SegmenterLearner(
            parameters.architecture, parameters, strength, task.seed, device, task.start
        )
        steps = np.array(parameters.checks) * parameters.iterations
        self._checks = set(np.maximum(np.round(steps), 1).astype(int).tolist())

    @property
    def iteration(self) -> int:
        """Steps made."""
        return self._learner.iteration

    @property
    def due(self) -> bool:
        """Whether it is time for a check."""
        return self.iteration in self._checks

    @property
    def finished(self) -> bool:
        """All steps are made, or the last checks brought nothing better."""
        scores = [record["val_dice"] for record in self.records]
        return self._learner.finished or is_exhausted(scores, self._parameters.patience)

    def step(self) -> None:
        """One step of the optimiser."""
        self._losses.append(self._learner.step(self._task.pools))

    def check(self) -> None:
        """Measure Dice on validation images, and keep the averaged weights as they are now."""
        averaged, share = self._learner.averaged(), Share.own()
        weights = averaged.state_dict()
        self.stages[self.iteration] = {
            key: now.to("cpu", copy=True) for key, now in weights.items()
        }
        self.records.append(
            {
                "iteration": self.iteration,
                "loss": share.mean(float(torch.stack(self._losses).mean())),
                "val_dice": share.mean(self._dice(averaged)),
                "seconds": round(time.perf_counter() - self._began, 3),
            }
        )
        self._losses.clear()

    def _dice(self, module: nn.Module) -> float:
        """Mean Dice of whole images, cut at 0.5."""
        network = SegmentationNetwork(module, self._parameters.architecture, NO_LIMIT)
        pool, scores = self._validation, []
        for image, truth in (pool[i].cpu().numpy() for i in range(len(pool))):
            mask = (network.logits(image) > 0).cpu().numpy()
            scores.append(overlap_scores(mask, truth > 127)["dice"][0])
        return float(np.mean(scores))

    def state(self) -> State:
        """All that the next step depends on, right after a check; of tensors and plain values."""
        return {
            "learner": self._learner.state(),
            "stages": self.stages,
            "records": self.records,
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._learner.load_state(state["learner"])
        self.stages = state["stages"]
        self.records = state["records"]
        # As if it had begun so much earlier; what was lost since the last check does not count.
        self._began = time.perf_counter() - self.records[-1]["seconds"]
