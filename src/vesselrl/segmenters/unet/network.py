"""The network behind the segmenter ``unet``: from one image to the probability of vessel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vesselrl.devices import best_device, sent
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.folding import folded
from vesselrl.networks.graphs import Replayed
from vesselrl.networks.imaging import grey, normalised, padded, reduced_size, shrunk
from vesselrl.threads import one_thread

Image = npt.NDArray[np.uint8]
Probability = npt.NDArray[np.float32]

FLIPS = ((), (2,), (3,), (2, 3))
"""The four ways to mirror (B, C, H, W): test-time augmentation averages over them."""


@dataclass(frozen=True)
class SegmentationNetwork:
    """A trained network and the size at which it works.

    Attributes:
        module: float (B, 1, H, W), normalised grey, to logits (B, 1, H, W).
        architecture: of the module.
        max_side: longer images are reduced to this side, in pixels.
        groups: that it learned from, see `vesselrl.samples.group_hashes`.
        is_final: whether the weights change no more, so that its passes may be folded (see
            `vesselrl.networks.folding`) and become CUDA graphs.
    """

    module: nn.Module
    architecture: Architecture
    max_side: int
    groups: tuple[str, ...] = ()
    is_final: bool = False

    def probability(self, image: Image, zoom: float = 1.0, flips: bool = False) -> Probability:
        """Where the network sees vessel.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            zoom: magnification under which the network looks; at 2 vessels look twice as wide.
            flips: whether to average over `FLIPS`.

        Returns:
            float32 (H, W) in [0, 1].
        """
        probability: Probability = self.map_on_device(image, zoom, flips).cpu().numpy()
        return probability

    def sent(self, image: Image) -> Tensor:
        """An image, uint8 (H, W) or (H, W, 3), on the device: float32 (H, W) in [0, 1]."""
        return sent(grey(image), self.device)

    @one_thread()
    @torch.inference_mode()
    def map_on_device(self, image: Image | Tensor, zoom: float = 1, flips: bool = False) -> Tensor:
        """The same where it was computed; of an image that was `sent`, without waiting for it."""
        return self._maps(self._whole(image), zoom, flips)

    @one_thread()
    @torch.inference_mode()
    def logits(self, image: Image | Tensor, zoom: float = 1, flips: bool = False) -> Tensor:
        """The answer at the network's own size, float32 (V, h, w): V is 4 with flips, else 1.

        Magnified, an image shows what it lost when it was reduced to `max_side`.
        """
        return self._odds(self._whole(image), zoom, flips)

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next(self.module.parameters()).device

    def _whole(self, image: Image | Tensor) -> Tensor:
        return image if isinstance(image, Tensor) else self.sent(image)

    @cached_property
    def _passes(self) -> "_Passes":
        network = folded(self.module) if self.is_final else self.module
        return _Passes(network, self.max_side, self.architecture.stride)

    @cached_property
    def _maps(self) -> Callable[[Tensor, float, bool], Tensor]:
        return Replayed(self._passes.map_of) if self.is_final else self._passes.map_of

    @cached_property
    def _odds(self) -> Callable[[Tensor, float, bool], Tensor]:
        return Replayed(self._passes.odds_of) if self.is_final else self._passes.odds_of

    def state(self) -> dict[str, Any]:
        """All there is to know of the network, of tensors (on the CPU) and plain values only."""
        return {
            "weights": {key: tensor.cpu() for key, tensor in self.module.state_dict().items()},
            "features": list(self.architecture.features),
            "downscale": self.architecture.downscale,
            "norm": self.architecture.norm,
            "max_side": self.max_side,
            "groups": list(self.groups),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "SegmentationNetwork":
        """The network that `state` describes, on the best device there is."""
        architecture = Architecture(1, tuple(state["features"]), state["downscale"], state["norm"])
        module = architecture.load(state["weights"])
        groups = tuple(state.get("groups", ()))
        module = module.to(best_device()).eval()
        return cls(module, architecture, state["max_side"], groups, is_final=True)


@dataclass(frozen=True)
class _Passes:
    """All steps on the device; it holds no `SegmentationNetwork`, which so ends with its last use.

    Attributes:
        network, max_side: see `SegmentationNetwork`.
        stride: see `Architecture`.
    """

    network: nn.Module
    max_side: int
    stride: int

    def map_of(self, whole: Tensor, zoom: float, flips: bool) -> Tensor:
        odds = self.odds_of(whole, zoom, flips)
        if odds.shape[1:] != whole.shape:
            size = list(whole.shape)
            odds = functional.interpolate(odds[None], size, mode="bilinear", align_corners=False)[0]
        return odds.sigmoid().mean(0)

    def odds_of(self, whole: Tensor, zoom: float, flips: bool) -> Tensor:
        finest = max(self.max_side, round(self.max_side * zoom))
        working = shrunk(whole[None, None], finest)
        if zoom < 1 or (zoom > 1 and working.shape[2:] == whole.shape):
            sides = reduced_size(whole.shape[0], whole.shape[1], self.max_side)
            size = [max(1, round(side * zoom)) for side in sides]
            working = functional.interpolate(working, size, mode="bilinear", align_corners=False)
        seen = normalised(working[0])[None]
        height, width = seen.shape[2:]
        ready = padded(seen, self.stride)
        views = FLIPS if flips else FLIPS[:1]
        mirrored = [ready.flip(view) for view in views]
        # One pass for all keeps a GPU busier; a CPU is slower at it where images are large.
        passes = [torch.cat(mirrored)] if ready.is_cuda else mirrored
        answers = torch.cat([self.network(batch) for batch in passes]).split(1)
        upright = [answer.flip(view) for answer, view in zip(answers, views, strict=True)]
        return torch.cat(upright)[:, 0, :height, :width].float()


def ensemble(
    networks: Sequence[SegmentationNetwork], image: Image, flips: bool = False
) -> Probability:
    """Mean of the networks' probabilities, float32 (H, W)."""
    mean: Probability = np.mean([one.probability(image, flips=flips) for one in networks], axis=0)
    return mean
