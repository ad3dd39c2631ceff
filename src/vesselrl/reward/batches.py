"""What one training step sees of an image: a square, randomly placed, warped and re-lit.

Everything random about geometry and choice comes from a numpy Generator, so that it is the same on
every device; fields of noise come from a torch Generator on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vesselrl.devices import best_device, sent
from vesselrl.networks.augmentation import Augmentation, random_places, relit, squares_at
from vesselrl.networks.residents import Residents
from vesselrl.reward.examples import Example, Loader
from vesselrl.reward.network import SILENT

AUGMENTATION = Augmentation()
FEW = 3
"""At most so many prompts' maps make a candidate that is not the mean of all."""
UNSEEN = 0.1
"""Share of patches whose candidate says nothing: the network must not lean on one segmenter."""


@dataclass(frozen=True)
class Resident:
    """An example on the device where training runs.

    Attributes:
        image: uint8 (h, w).
        truth: uint8 (h, w), 255 where all of the pixel is vessel.
        mean: uint8 (h, w), the mean of the segmenter's maps, as levels.
        own: uint8 (P, h, w), the segmenter's maps as levels.
        corrupted: uint8 (C, h, w), corruptions of the truth as levels.
    """

    image: Tensor
    truth: Tensor
    mean: Tensor
    own: Tensor
    corrupted: Tensor

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.nbytes for tensor in vars(self).values())

    @classmethod
    def of(cls, example: Example, device: torch.device) -> "Resident":
        """Bring an example to a device."""
        maps = torch.from_numpy(example["maps"]).to(device)
        ours = torch.from_numpy(example["sources"] == "").to(device)
        own = maps[ours]
        return cls(
            image=torch.from_numpy(example["image"]).to(device),
            truth=torch.from_numpy(example["truth"]).to(device),
            mean=_mean(own),
            own=own,
            corrupted=maps[~ours],
        )


class Batch(NamedTuple):
    """Squares of side s from B images, each float32 (B, s, s).

    Attributes:
        image: about [0, 1].
        candidate: in [0, 1], what the network is asked about.
        judged: in [0, 1], the map whose mask is judged.
        cut: (B,) instead, where it is cut for its mask.
        truth: in [0, 1].
    """

    image: Tensor
    candidate: Tensor
    judged: Tensor
    cut: Tensor
    truth: Tensor


def sample_batch(
    examples: Sequence[Resident], patch: int, rng: np.random.Generator, noise: torch.Generator
) -> Batch:
    """A random square of each example.

    The candidate is the mean of all prompts' maps, as it is when the network is used, or of a few
    of them, or for a small share nothing at all. The map whose mask is judged is a single prompt's
    or a corruption of the truth. A corruption is never the candidate: it would tell the network
    where the truth is.

    Args:
        examples: one for each square of the batch.
        patch: the squares' side in pixels.
        rng: draws places, warps and choices.
        noise: draws fields; on the examples' device.
    """
    stacks = [_stack(example, rng) for example in examples]
    sizes = np.array([stack.shape[1:] for stack in stacks])
    places = random_places(sizes, patch, AUGMENTATION, rng, stacks[0].device)
    squares = squares_at(stacks, places)
    image, truth = squares[:, 0] / 255, squares[:, 1] / 255
    candidate, judged = ((squares[:, channel] + 0.5) / 256 for channel in (2, 3))
    lit = relit(image, AUGMENTATION, rng, noise)
    cut = sent(rng.uniform(0.1, 0.9, len(lit)), lit.device)
    return Batch(lit, candidate, judged, cut, truth)


def _stack(example: Resident, rng: np.random.Generator) -> Tensor:
    """Image, truth, candidate and judged map of one example, uint8 (4, h, w)."""
    pool = example.corrupted if len(example.corrupted) and rng.random() < 0.5 else example.own
    judged = pool[int(rng.integers(len(pool)))]
    return torch.stack([example.image, example.truth, _candidate(example, rng), judged])


def _candidate(example: Resident, rng: np.random.Generator) -> Tensor:
    kind = rng.random()
    if kind < UNSEEN:
        return torch.full_like(example.mean, SILENT)
    if kind < 0.5:
        count = int(rng.integers(1, min(FEW, len(example.own)) + 1))
        few = rng.choice(len(example.own), count, replace=False)
        return _mean(torch.stack([example.own[int(i)] for i in few]))
    return example.mean


def _mean(levels: Tensor) -> Tensor:
    """Of maps as levels, uint8 (N, h, w), the mean as levels."""
    return levels.float().mean(0).round().to(torch.uint8)


def residents(loaders: Sequence[Loader], device: torch.device | None = None) -> Residents[Resident]:
    """Examples on the device where training runs, each loaded when it is first asked for.

    Without a device that is the best one of the process that asks.
    """
    return Residents([partial(_resident, load, device) for load in loaders])


def _resident(load: Loader, device: torch.device | None) -> Resident:
    return Resident.of(load(), device or best_device())
