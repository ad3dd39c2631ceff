"""The reward network: judges a mask without ground truth.

It reads an image and a *candidate* (a probability map, or any mask as one) and answers per pixel with
the probability ``q`` that the truth is vessel there. A mask enters only the closed form of
`vesselrl.reward.closed_form`, never the network: whoever optimises the mask cannot fool the network
with it, and one forward pass judges every mask of an image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor
from torch.nn import functional

from vesselrl.reward.closed_form import Array, expected_overlap

CPU = torch.device("cpu")
STRIDE = 16  # BasicUNet halves the image four times


def build_unet(features: list[int]) -> BasicUNet:
    """A MONAI BasicUNet from (image, candidate) to one logit a pixel; `features` are its six widths."""
    return BasicUNet(spatial_dims=2, in_channels=2, out_channels=1, features=features)


def network_input(image: Tensor, candidate: Tensor) -> Tensor:
    """Stack the two inputs as the network sees them.

    Args:
        image: float (B, H, W), any range; each image is brought to zero mean and unit variance.
        candidate: float (B, H, W) in [0, 1].

    Returns:
        float (B, 2, H, W).
    """
    mean = image.mean((1, 2), keepdim=True)
    spread = image.std((1, 2), keepdim=True).clamp_min(1e-3)
    return torch.stack([(image - mean) / spread, candidate * 2 - 1], dim=1)


def grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """One channel of an image, float32 (H, W) in [0, 1]: green of a colour image.

    Vessels show best in green, in retinal photographs above all.
    """
    channel = image if image.ndim == 2 else image[..., 1]
    return channel.astype(np.float32) / 255


def reduced(array: npt.NDArray[np.float32], max_side: int) -> npt.NDArray[np.float32]:
    """Shrink maps (…, H, W) by averaging until no side is longer than `max_side`."""
    height, width = array.shape[-2:]
    scale = max_side / max(height, width)
    if scale >= 1:
        return array
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    stack = torch.from_numpy(np.ascontiguousarray(array)).reshape(1, -1, height, width)
    shrunk: npt.NDArray[np.float32] = functional.interpolate(stack, size, mode="area").numpy()
    return shrunk.reshape(*array.shape[:-2], *size)


@dataclass(frozen=True)
class Calibration:
    """The straight line from raw to true Dice, fitted on validation images; it keeps every ranking."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, raw: Array, true: Array) -> "Calibration":
        """Least squares; a falling line (a network that ranks backwards) is replaced by the mean."""
        slope, intercept = np.polyfit(raw, true, 1) if np.ptp(raw) > 0 else (0.0, np.mean(true))
        if slope <= 0:
            slope, intercept = 0.0, np.mean(true)
        return cls(float(slope), float(intercept))

    def __call__(self, raw: Array) -> Array:
        """Calibrated Dice in [0, 1]."""
        return np.clip(self.slope * raw + self.intercept, 0, 1)


class RewardNetwork:
    """An ensemble of dense judges with a calibration.

    Args:
        members: the networks, all of one architecture.
        features: the widths of that architecture.
        max_side: images are reduced to this side, in pixels, before the networks see them.
        kappa: the reward is mean - kappa * standard deviation of the members' opinions.
        calibration: from raw to true Dice.
    """

    def __init__(
        self,
        members: list[BasicUNet],
        features: list[int],
        max_side: int,
        kappa: float,
        calibration: Calibration,
    ) -> None:
        self.members = [member.eval() for member in members]
        self.features = features
        self.max_side = max_side
        self.kappa = kappa
        self.calibration = calibration

    @torch.inference_mode()
    def opinions(
        self, image: npt.NDArray[np.uint8], candidate: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Where each member believes the truth to be.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            candidate: float32 (H, W) in [0, 1].

        Returns:
            float32 (M, H, W): per pixel the probability of vessel.
        """
        height, width = candidate.shape
        pair = torch.from_numpy(reduced(np.stack([grey(image), candidate]), self.max_side))
        pair = network_input(pair[:1], pair[1:])
        padding = [-pair.shape[3] % STRIDE, -pair.shape[2] % STRIDE]
        padded = functional.pad(pair, (0, padding[0], 0, padding[1]), mode="replicate")
        q = torch.cat([member(padded).sigmoid() for member in self.members])
        q = q[..., : pair.shape[2], : pair.shape[3]]
        if q.shape[2:] != (height, width):
            q = functional.interpolate(q, (height, width), mode="bilinear", align_corners=False)
        return q[:, 0].numpy()

    def raw_dice(self, masks: npt.NDArray[np.bool_], opinions: Array) -> Array:
        """Expected Dice of masks before calibration, mean - kappa * sd of the members, float64 (N,)."""
        dice, _, _ = expected_overlap(masks, opinions)
        return dice.mean(1) - self.kappa * dice.std(1)

    def dice(self, masks: npt.NDArray[np.bool_], opinions: Array) -> Array:
        """The reward: calibrated conservative Dice of masks (N, H, W), float64 (N,) in [0, 1]."""
        return self.calibration(self.raw_dice(masks, opinions))

    def state(self) -> dict[str, Any]:
        """All there is to know of the network, of tensors and plain values only."""
        return {
            "members": [member.state_dict() for member in self.members],
            "features": self.features,
            "max_side": self.max_side,
            "kappa": self.kappa,
            "calibration": [self.calibration.slope, self.calibration.intercept],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "RewardNetwork":
        """The network that `state` describes."""
        return cls(
            members=list(_members(state)),
            features=state["features"],
            max_side=state["max_side"],
            kappa=state["kappa"],
            calibration=Calibration(*state["calibration"]),
        )


def _members(state: dict[str, Any]) -> Iterator[BasicUNet]:
    for weights in state["members"]:
        member = build_unet(state["features"])
        member.load_state_dict(weights)
        yield member
