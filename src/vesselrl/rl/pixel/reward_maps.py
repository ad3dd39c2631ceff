"""The reward of an image, as maps that are made once and serve all of training.

The reward network judges a mask by where it believes the truth to be; it never sees the mask. So
all it will ever say of an image is one map a member. A fold ensemble's maps can join its members,
or stand in for them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from vesselrl.devices import best_device
from vesselrl.networks.residents import Residents
from vesselrl.reward.network import RewardNetwork
from vesselrl.rl.pixel.parameters import Source
from vesselrl.segmenters.unet.network import SegmentationNetwork

Maps = npt.NDArray[np.float32]
Opinions = Mapping[str, Maps]
"""``network``, ``ensemble`` → float32 (M, h, w) in [0, 1]: where each of them sees vessel."""


class RewardMap(NamedTuple):
    """Where the truth of an image may be; both float32 (h, w).

    Attributes:
        q: probability that the truth is vessel.
        spread: its standard deviation over those who were asked, in [0, 0.5].
    """

    q: Maps
    spread: Maps


def reward_map(opinions: Opinions, source: Source) -> RewardMap:
    """Mean and standard deviation of who is asked.

    With ``both``, the reward network's members together count as much as the ensemble's together.

    Args:
        opinions: of an image, see `Judges`.
        source: who of them is asked.
    """
    groups = list(opinions.values()) if source == "both" else [opinions[source]]
    stack = np.concatenate(groups)
    weights = np.concatenate([np.full(len(g), 1 / (len(groups) * len(g))) for g in groups])
    q = np.tensordot(weights, stack, 1)
    spread = np.sqrt(np.tensordot(weights, np.square(stack - q), 1))
    return RewardMap(q.clip(0, 1).astype(np.float32), spread.clip(0, 0.5).astype(np.float32))


@dataclass(frozen=True)
class Judges:
    """Who may say where the truth of an image is.

    Attributes:
        network: the reward network.
        start: the segmenter that training starts from; the network is asked about its map.
        folds: segmenters that cross-fitting trained.
    """

    network: RewardNetwork
    start: SegmentationNetwork
    folds: Sequence[SegmentationNetwork]

    def on_unseen(self, image: npt.NDArray[np.uint8], source: Source) -> Opinions:
        """On an image that none of the segmenters learnt from.

        The start is asked for its mirrored answers too: in its training the reward network saw
        mostly means of several maps.

        Args:
            image: uint8 (h, w), of the working size.
            source: who is asked.
        """
        opinions: dict[str, Maps] = {}
        if source != "ensemble":
            candidate = self.start.probability(image, flips=True)
            opinions["network"] = self.network.opinions(image, candidate)
        if source != "network":
            answers = [fold.probability(image, flips=True) for fold in self.folds]
            opinions["ensemble"] = np.stack(answers)
        return opinions

    def on_left_out(self, image: npt.NDArray[np.uint8], honest: Maps) -> Opinions:
        """On a training image: of all segmenters only that of its fold is honest.

        The reward network learned from the truth of such an image: its opinion is that of one who
        knows it.

        Args:
            image: uint8 (h, w), of the working size.
            honest: float32 (h, w) in [0, 1], the map of the segmenter that never saw it.
        """
        return {"network": self.network.opinions(image, honest), "ensemble": honest[None]}


def rewarded(image: npt.NDArray[np.uint8], maps: RewardMap) -> npt.NDArray[np.uint8]:
    """Image and reward as the learner takes them, uint8 (3, h, w): grey, q and spread of 255."""
    return np.stack([image, *(np.round(part * 255).astype(np.uint8) for part in maps)])


def labelled(image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same of a labelled image: the truth is known without doubt.

    Args:
        image: uint8 (h, w), of the working size.
        truth: uint8 (h, w), 255 where all of the pixel is vessel.
    """
    return np.stack([image, truth, np.zeros_like(truth)])


def q_of(stack: npt.NDArray[np.uint8], shape: tuple[int, int]) -> Maps:
    """``q`` of what `rewarded` gave, at the size of the image itself, float32 `shape` in [0, 1]."""
    q = torch.from_numpy(stack[1:2, None].astype(np.float32) / 255)
    at_size: Maps = functional.interpolate(q, shape, mode="bilinear", align_corners=False).numpy()
    return at_size[0, 0]


def resident(loaders: Sequence[Callable[[], npt.NDArray[np.uint8]]]) -> Residents[torch.Tensor]:
    """What `rewarded` or `labelled` gave of many images, on the best device, where training runs.

    Args:
        loaders: of uint8 (3, h, w), called when their image is first asked for.
    """

    def load(loader: Callable[[], npt.NDArray[np.uint8]]) -> torch.Tensor:
        return torch.from_numpy(loader()).to(best_device())

    return Residents([partial(load, loader) for loader in loaders])
