"""The U-Net that reward network and segmenter are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vesselrl.devices import fastest_layout
from vesselrl.networks.parameters import STRIDE, Norm

_NORM: dict[Norm, dict[str, Any]] = {"batch": {"momentum": 0.05}, "instance": {"affine": True}}


@dataclass(frozen=True)
class Architecture:
    """How a network is built.

    Attributes:
        channels: of its input.
        features: the six widths of MONAI's BasicUNet.
        downscale: the network works at this part of the resolution, for that part's square of the
            time: squares of pixels become channels and, at the end, pixels again (Shi et al.,
            "Real-time single image and video super-resolution using an efficient sub-pixel
            convolutional neural network", CVPR 2016, arXiv:1609.05158), so that nothing of the
            input is lost.
        norm: how it normalises: by batches, or each image by itself (``instance``).
    """

    channels: int
    features: tuple[int, ...]
    downscale: int
    norm: Norm = "batch"

    @property
    def stride(self) -> int:
        """The sides of its input are multiples of this."""
        return STRIDE * self.downscale

    def build(self, seed: int = 0) -> nn.Module:
        """One network: from float (B, channels, H, W) to logits (B, 1, H, W).

        Its weights are drawn from the seed; the caller's random numbers stay as they are.
        """
        # Here, as it takes seconds: who judges what networks said needs none.
        from monai.networks.nets import BasicUNet
        from monai.networks.nets.basic_unet import UpCat

        area = self.downscale**2
        # They are drawn on the CPU: to keep the state of every GPU would take memory on each.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            unet = BasicUNet(
                spatial_dims=2,
                in_channels=self.channels * area,
                out_channels=area,
                features=self.features,
                bias=False,  # the normalisation behind a convolution takes it away
                norm=(self.norm, _NORM[self.norm]),
            )
        for part in unet.modules():
            if isinstance(part, UpCat):
                part.is_pad = False  # for odd sides, which multiples of `stride` never lead to
        return nn.Sequential(
            nn.PixelUnshuffle(self.downscale), unet, nn.PixelShuffle(self.downscale)
        ).to(memory_format=fastest_layout())  # type: ignore[call-overload]

    def load(self, weights: Mapping[str, Any]) -> nn.Module:
        """One network with these weights.

        Raises:
            RuntimeError: they are of another architecture.
        """
        with torch.device("meta"):  # no memory yet: a small file may tell of a huge network
            self.build().load_state_dict(weights, assign=True)
        module = self.build()
        module.load_state_dict(weights)
        return module


def weight_count(modules: Iterable[nn.Module]) -> int:
    """How many weights some networks have together."""
    return sum(weights.numel() for module in modules for weights in module.parameters())
