"""How the segmenter's network learns: from truths, or from what other networks believe."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from monai.losses import DiceLoss, SoftclDiceLoss
from torch import Tensor, nn
from torch.nn import functional

from vesselrl.networks.architecture import Architecture
from vesselrl.networks.augmentation import (
    Augmentation,
    random_places,
    relit,
    squares_at,
)
from vesselrl.networks.data_parallel import ALONE, Share, synchronised
from vesselrl.networks.graphs import graphed, in_mixed_precision
from vesselrl.networks.imaging import normalised
from vesselrl.networks.learning import Learner, Pool
from vesselrl.segmenters.unet.parameters import UnetTrainingParameters

Pair = Tensor
"""uint8 (2, h, w): a grey image, and its target, 255 where all of the pixel is vessel."""

LARGEST_RADIUS = 10
"""In pixels: vessels up to this radius are thinned to their centre lines where clDice counts."""


def segmentation_loss(logits: Tensor, target: Tensor, cldice: float = 0) -> Tensor:
    """2 BCE + soft Dice loss, and soft clDice loss if it is asked for, a float ().

    clDice compares centre lines, so that it counts whether a vessel is found in one piece, however
    thin it is (Shit et al., "clDice: a novel topology-preserving loss function for tubular
    structure segmentation", CVPR 2021, arXiv:2003.07311).

    Args:
        logits: float (B, 1, H, W).
        target: float (B, 1, H, W) in [0, 1]: the truth, or how probable it is.
        cldice: weight of the soft clDice loss.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    overlap: Tensor = DiceLoss()(logits.sigmoid(), target)
    loss = 2 * entropy + overlap
    if cldice:
        loss = loss + cldice * SoftclDiceLoss(iter_=LARGEST_RADIUS)(logits.sigmoid(), target)
    return loss


def sample_squares(
    pairs: Sequence[Pair],
    side: int,
    strength: Augmentation,
    rng: np.random.Generator,
    noise: torch.Generator,
    share: Share = ALONE,
) -> tuple[Tensor, Tensor]:
    """A random square of each image and of its targets.

    Args:
        pairs: uint8 (1 + T, h, w), one for each square of the process's rows, on one device.
        side: of the squares, in pixels.
        strength: how much they are changed.
        rng: draws places, warps and light.
        noise: draws fields; on the pairs' device.
        share: of the batch.

    Returns:
        Float32: normalised images (B, 1, side, side), and targets (B, T, side, side) in [0, 1].
    """
    sizes = np.array([pair.shape[1:] for pair in pairs])
    places = random_places(sizes, side, strength, rng, pairs[0].device, share)
    squares = squares_at(pairs, places) / 255
    lit = relit(squares[:, 0], strength, rng, noise, share)
    return normalised(lit)[:, None], squares[:, 1:]


class SegmenterLearner(Learner):
    """The segmenter's network in training.

    Args:
        architecture: of the network.
        parameters: of its training.
        strength: of the augmentation.
        seed: of drawn weights, squares and light.
        device: where it trains.
        weights: to start from; None for drawn ones.
        cycle: iterations in which the learning rate rises and falls (Smith and Topin,
            "Super-convergence", 2018, arXiv:1708.07120); all of them where it is None.

    Attributes:
        module: what learns.
        average: its averaged weights, which are what is used.
        iteration: steps made.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: UnetTrainingParameters,
        strength: Augmentation,
        seed: int,
        device: torch.device,
        weights: Mapping[str, Tensor] | None = None,
        cycle: int | None = None,
    ) -> None:
        self.module = architecture.build(seed).to(device)
        if weights is not None:
            self.module.load_state_dict(weights)
        self.average = deepcopy(self.module)
        super().__init__(
            self.module.parameters(),
            self.average.parameters(),
            parameters.learning_rate,
            seed,
            cycle or parameters.iterations,
        )
        self._parameters = parameters
        self._strength = strength
        size = self._share.size(parameters.batch)
        shape = (size, 1, parameters.patch, parameters.patch)
        loss = _Loss(synchronised(self.module, self._share, device), parameters.cldice)
        self._loss = graphed(loss, (shape, shape), device)

    @property
    def finished(self) -> bool:
        """All steps are made."""
        return self.iteration >= self._parameters.iterations

    def step(self, pools: Sequence[Pool]) -> Tensor:
        """One step of the optimiser.

        Args:
            pools: what to learn from; each gives an equal part of the batch.

        Returns:
            The loss, of this process's rows, a float ().
        """
        p = self._parameters
        ends = [p.batch * number // len(pools) for number in range(len(pools) + 1)]
        parts = [end - start for start, end in pairwise(ends)]
        pairs = self._draw(*zip(pools, parts, strict=True))
        squares = sample_squares(
            pairs, p.patch, self._strength, self._rng, self._noise, self._share
        )
        loss: Tensor = self._loss(*squares)
        self._descend(loss, p.ema_decay if self.iteration else 0.0)
        self.iteration += 1
        return loss.detach().clone()  # a graph's next step overwrites it

    def averaged(self) -> nn.Module:
        """The averaged network as it is now, in evaluation mode."""
        for kept, now in zip(self.average.buffers(), self.module.buffers(), strict=True):
            kept.copy_(now)
        return self.average.eval()

    def state(self) -> dict[str, Any]:
        """See `Learner.state`."""
        weights = {"module": self.module.state_dict(), "average": self.average.state_dict()}
        return super().state() | weights

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        super().load_state(state)
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])


class _Loss(nn.Module):
    """From squares and targets to what a step makes smaller."""

    def __init__(self, network: nn.Module, cldice: float) -> None:
        super().__init__()
        self._network = network
        self._cldice = cldice

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `segmentation_loss`."""
        logits = in_mixed_precision(self._network, image)
        return segmentation_loss(logits, target, self._cldice)
