"""How the segmenter's network learns: from truths, or from what other networks believe."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol

import numpy as np
import torch
from monai.losses import DiceLoss, SoftclDiceLoss
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vesselrl.networks.architecture import Architecture
from vesselrl.networks.augmentation import Augmentation, random_places, relit
from vesselrl.networks.data_parallel import ALONE, Share, synchronised
from vesselrl.networks.graphs import graphed
from vesselrl.networks.imaging import normalised
from vesselrl.networks.schedules import one_cycle
from vesselrl.segmenters.unet.parameters import UnetTrainingParameters

Pair = Tensor
"""uint8 (2, h, w): a grey image, and its target, 255 where all of the pixel is vessel."""

LARGEST_RADIUS = 10
"""In pixels: vessels up to this radius are thinned to their centre lines where clDice counts."""


class Pool(Protocol):
    """Pairs to draw from, on one device."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...


def segmentation_loss(logits: Tensor, target: Tensor, cldice: float = 0) -> Tensor:
    """2 BCE + soft Dice loss, and soft clDice loss if it is asked for, a float ().

    clDice compares centre lines, so that it counts whether a vessel is found in one piece, however
    thin it is (Shit et al., "clDice: a novel topology-preserving loss function for tubular
    structure segmentation", CVPR 2021).

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
    if pairs[0].is_cuda and (sizes == sizes[0]).all():
        squares = _placed(torch.stack(list(pairs)), places)
    else:  # one by one: all images together, as floats, would not stay in a CPU's cache
        squares = torch.cat(
            [_placed(pair[None], where[None]) for pair, where in zip(pairs, places, strict=True)]
        )
    lit = relit(squares[:, 0], strength, rng, noise, share)
    return normalised(lit)[:, None], squares[:, 1:]


def _placed(pairs: Tensor, places: Tensor) -> Tensor:
    return functional.grid_sample(
        pairs.float() / 255, places, padding_mode="reflection", align_corners=False
    )


class Learner:
    """One network in training, step by step.

    Args:
        architecture: of the network.
        parameters: of its training.
        strength: of the augmentation.
        seed: of drawn weights, squares and light.
        device: where it trains.
        weights: to start from; None for drawn ones.
        cycle: iterations in which the learning rate rises and falls (Smith and Topin,
            "Super-convergence", 2018); all of them where it is None.

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
        self.iteration = 0
        self.module = architecture.build(seed).to(device)
        if weights is not None:
            self.module.load_state_dict(weights)
        self.average = deepcopy(self.module)
        self._parameters = parameters
        self._strength = strength
        self._rng = np.random.default_rng(seed)
        self._noise = torch.Generator(device).manual_seed(seed)
        self._share = share = Share.own()
        shape = (share.size(parameters.batch), 1, parameters.patch, parameters.patch)
        loss = _Loss(synchronised(self.module, share, device), parameters.cldice)
        self._loss: Callable[..., Tensor] = (
            graphed(loss, (shape, shape), device) if device.type == "cuda" else loss
        )
        self._weights = list(self.module.parameters())
        self._means = list(self.average.parameters())
        self._optimiser = torch.optim.AdamW(self._weights, fused=True)
        self._schedule = one_cycle(
            self._optimiser, parameters.learning_rate, cycle or parameters.iterations
        )

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
        size = self._parameters.batch
        chosen: list[tuple[Pool, int]] = []
        for number, pool in enumerate(pools):
            part = size * (number + 1) // len(pools) - size * number // len(pools)
            chosen += [(pool, int(i)) for i in self._rng.integers(0, len(pool), part)]
        pairs = [pool[index] for pool, index in self._share.of(chosen)]
        squares = sample_squares(
            pairs, self._parameters.patch, self._strength, self._rng, self._noise, self._share
        )
        loss = self._loss(*squares)
        self._optimiser.zero_grad()
        loss.backward()
        self._share.average([weights.grad for weights in self._weights])
        self._optimiser.step()
        self._schedule.step()
        decay = self._parameters.ema_decay if self.iteration else 0.0
        get_ema_multi_avg_fn(decay)(self._means, self._weights, self.iteration)
        self.iteration += 1
        return loss.detach().clone()  # a graph's next step overwrites it

    def averaged(self) -> nn.Module:
        """The averaged network as it is now, in evaluation mode."""
        for kept, now in zip(self.average.buffers(), self.module.buffers(), strict=True):
            kept.copy_(now)
        return self.average.eval()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, of tensors and plain values."""
        return {
            "iteration": self.iteration,
            "rng": self._rng.bit_generator.state,
            "noise": self._noise.get_state(),
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.iteration = state["iteration"]
        self._rng.bit_generator.state = state["rng"]
        self._noise.set_state(state["noise"])
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])


class _Loss(nn.Module):
    """From squares and targets to what a step makes smaller."""

    def __init__(self, network: nn.Module, cldice: float) -> None:
        super().__init__()
        self._network = network
        self._cldice = cldice

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `segmentation_loss`."""
        on_gpu = image.device.type == "cuda"
        with torch.autocast(image.device.type, torch.bfloat16, on_gpu, cache_enabled=False):
            logits = self._network(image)
        return segmentation_loss(logits.float(), target, self._cldice)
