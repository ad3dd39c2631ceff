"""Training on drawn angiograms: what the segmenter knows before it has seen a real one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vesselrl.checkpoints import Checkpoints
from vesselrl.devices import best_device
from vesselrl.hashes import digest
from vesselrl.networks.data_parallel import Share
from vesselrl.networks.residents import Residents
from vesselrl.networks.trainings import SideBySide, spread
from vesselrl.segmenters.unet.fitting import SegmenterLearner
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import PretrainingParameters
from vesselrl.synthetic import patients

Drawn = Callable[[], Mapping[str, npt.NDArray[np.uint8]]]
"""Loader of one file of `vesselrl.synthetic.patients.draw_patients`."""
CHECKPOINTS = 10
"""An interrupted training loses less than one of so many parts."""
_NETWORK = "network"


def pretrain(
    files: Sequence[Drawn], parameters: PretrainingParameters, checkpoints: Checkpoints
) -> tuple[SegmentationNetwork, list[dict[str, float]]]:
    """Train one network on drawings.

    Nothing real decides when it ends: the training is short beside the cycle of its learning rate.
    Networks whose rate had come to nothing fitted the drawings better and real angiograms worse.

    Args:
        files: loaders of the drawings.
        parameters: size and length.
        checkpoints: an interrupted training goes on where it was and ends, on the same device, in
            the same weights.

    Returns:
        The network with its averaged weights, and the mean loss of each part of the training.

    Raises:
        VesselrlError: a batch cannot be shared by the devices.
    """
    training, fingerprint = parameters.training, digest(parameters.model_dump(mode="json"))
    job = SideBySide(partial(Pretraining, files, parameters), checkpoints, fingerprint)
    spread(job, [_NETWORK], parameters.devices, "Pretraining", training.iterations)
    state = checkpoints.load(_NETWORK, fingerprint) or {}
    checkpoints.clear()
    module = training.architecture.load(state["network"])
    network = SegmentationNetwork(
        module.to(best_device()).eval(), training.architecture, parameters.max_side
    )
    return network, state["history"]


class Pretraining:
    """The training of the network on drawings; a check tells the mean loss since the last.

    Args:
        files: loaders of the drawings.
        parameters: size and length.
        _: its name, as it is the only one.
    """

    def __init__(
        self, files: Sequence[Drawn], parameters: PretrainingParameters, _: str = _NETWORK
    ) -> None:
        training, device = parameters.training, best_device()
        self._learner = SegmenterLearner(
            training.architecture,
            training,
            parameters.augmentation.strength,
            parameters.seed,
            device,
            cycle=training.cycle,
        )
        self._drawings = _Drawings(files, parameters.patients, device)
        self._every = max(1, training.iterations // CHECKPOINTS)
        self._losses: list[Tensor] = []
        self._history: list[dict[str, float]] = []

    @property
    def iteration(self) -> int:
        """Steps made."""
        return self._learner.iteration

    @property
    def due(self) -> bool:
        """Whether a part of the training has ended."""
        return self.iteration % self._every == 0 or self.finished

    @property
    def finished(self) -> bool:
        """All steps are made."""
        return self._learner.finished

    def step(self) -> None:
        """One step of the optimiser."""
        self._losses.append(self._learner.step([self._drawings]))

    def check(self) -> None:
        """Note the mean loss of the part that has ended."""
        loss = Share.own().mean(float(torch.stack(self._losses).mean()))
        self._history.append({"iteration": self.iteration, "loss": loss})
        self._losses.clear()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, and the averaged ``network``."""
        return {
            "learner": self._learner.state(),
            "network": self._learner.averaged().state_dict(),
            "history": self._history,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._learner.load_state(state["learner"])
        self._history = state["history"]


class _Drawings:
    """The drawings as a pool to learn from: whole files stay on the device."""

    def __init__(self, files: Sequence[Drawn], count: int, device: torch.device) -> None:
        def load(file: Drawn) -> Tensor:
            drawn = file()
            pairs = np.stack([drawn["images"], drawn["masks"]], axis=1)
            return torch.from_numpy(pairs).to(device)

        self._files = Residents([partial(load, file) for file in files])
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Tensor:
        """Image and mask, uint8 (2, size, size)."""
        file, place = divmod(index, patients.AT_ONCE)
        return self._files[file][place]
