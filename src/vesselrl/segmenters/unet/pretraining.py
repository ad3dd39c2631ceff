"""Training on drawn angiograms: what the segmenter knows before it has seen a real one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from vesselrl.checkpoints import Checkpoints
from vesselrl.devices import best_device
from vesselrl.networks.residents import Residents
from vesselrl.provenance import digest
from vesselrl.segmenters.unet.fitting import Learner
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import PretrainingParameters
from vesselrl.synthetic import patients
from vesselrl.threads import one_thread

Drawn = Callable[[], Mapping[str, npt.NDArray[np.uint8]]]
"""Loader of one file of `vesselrl.synthetic.patients.draw_patients`."""
CHECKPOINTS = 10
"""An interrupted training loses less than one of so many parts."""


@one_thread()
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
    """
    device = best_device()
    training = parameters.training
    learner = Learner(
        training.architecture,
        training,
        parameters.augmentation.strength,
        parameters.seed,
        device,
        cycle=training.cycle,
    )
    drawings = _Drawings(files, parameters.patients, device)
    fingerprint = digest(parameters.model_dump(mode="json"))
    history: list[dict[str, float]] = []
    if saved := checkpoints.load("network", fingerprint):
        learner.load_state(saved["learner"])
        history = saved["history"]
    part = max(1, training.iterations // CHECKPOINTS)
    losses: list[Tensor] = []
    with tqdm(total=training.iterations, desc="Pretraining", initial=learner.iteration) as bar:
        while not learner.finished:
            losses.append(learner.step([drawings]))
            bar.update()
            if learner.iteration % part == 0 or learner.finished:
                loss = float(torch.stack(losses).mean())
                history.append({"iteration": learner.iteration, "loss": loss})
                losses.clear()
                state: dict[str, Any] = {"learner": learner.state(), "history": history}
                checkpoints.save("network", fingerprint, state)
    checkpoints.clear()
    network = SegmentationNetwork(learner.averaged(), training.architecture, parameters.max_side)
    return network, history


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
