"""The reward network: judges a mask without ground truth.

It reads an image and a *candidate* (a probability map, or any mask as one) and answers per pixel
with the probability ``q`` that the truth is vessel there. A mask enters only the closed form of
`vesselrl.reward.closed_form`, never the network: whoever optimises the mask cannot fool the
network with it, and one forward pass judges every mask of an image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.nn import functional

from vesselrl.metrics.masks import Scores
from vesselrl.reward.closed_form import Probability, expected_scores
from vesselrl.threads import one_thread

STRIDE = 64  # a member halves the image five times and normalises what is then two pixels or more
SCORES = ("dice", "recall", "precision")
TINY = 1e-12  # scores that vary less than this do not vary


def mean_candidate(probabilities: Probability) -> Probability:
    """What the network is asked about an image: the mean of all maps, (P, H, W) → (H, W)."""
    return probabilities.mean(0)


def build_member(features: list[int]) -> nn.Module:
    """One judge: from (image, candidate), float (B, 2, H, W), to one logit a pixel, (B, 1, H, W).

    A MONAI BasicUNet of the six widths `features` that works at half the resolution, for a quarter
    of the time: squares of 2 × 2 pixels become channels and, at the end, pixels again (Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", CVPR 2016), so that nothing of the input is lost. H and W are multiples of 32.
    """
    unet = BasicUNet(spatial_dims=2, in_channels=8, out_channels=4, features=features)
    return nn.Sequential(nn.PixelUnshuffle(2), unet, nn.PixelShuffle(2))


def network_input(image: Tensor, candidate: Tensor) -> Tensor:
    """Stack the two inputs as the network sees them.

    Args:
        image: float (B, H, W), any range; each image is brought to zero mean and unit variance.
        candidate: float (B, H, W) in [0, 1].

    Returns:
        float (B, 2, H, W).
    """
    mean = image.mean((1, 2), keepdim=True)
    spread = image.std((1, 2), correction=0, keepdim=True).clamp_min(1e-3)
    return torch.stack([(image - mean) / spread, candidate * 2 - 1], dim=1)


def grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """One channel of an image, float32 (H, W) in [0, 1]: green of a colour image.

    Vessels show best in green, in retinal photographs above all.
    """
    channel = image if image.ndim == 2 else image[..., 1]
    return channel.astype(np.float32) / np.float32(255)


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
    """A straight line from a raw to the true score; within [0, 1] it keeps every ranking.

    A network is too sure of itself on new patients. Fitted on validation images, the line takes
    this bias away.
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, raw: Scores, true: Scores) -> "Calibration":
        """Least squares; a falling line (a network that ranks backwards) is replaced by the mean.

        Args:
            raw: float64 (N,), predicted scores.
            true: float64 (N,), the scores they should have been; N > 0.
        """
        spread = raw - raw.mean()
        slope = max(0.0, float(spread @ true / max(spread @ spread, TINY)))
        return cls(slope, float(true.mean() - slope * raw.mean()))

    def __call__(self, raw: Scores) -> Scores:
        """Calibrated scores in [0, 1]."""
        return np.clip(self.slope * raw + self.intercept, 0, 1)


class RewardNetwork:
    """An ensemble of dense judges with a calibration.

    Args:
        members: the networks, all of one architecture.
        features: the widths of that architecture.
        max_side: images are reduced to this side, in pixels, before the networks see them.
        kappa: the reward is mean - kappa * standard deviation of the members' opinions.
        calibrations: for each of `SCORES`, from raw to true; without them scores stay raw.
    """

    def __init__(
        self,
        members: list[nn.Module],
        features: list[int],
        max_side: int,
        kappa: float,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        self.members = [member.eval() for member in members]
        self.features = features
        self.max_side = max_side
        self.kappa = kappa
        self.calibrations = dict(calibrations or dict.fromkeys(SCORES, Calibration()))

    @one_thread()
    @torch.inference_mode()
    def opinions(self, image: npt.NDArray[np.uint8], candidate: Probability) -> Probability:
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

    def raw_scores(self, masks: npt.NDArray[np.bool_], opinions: Probability) -> dict[str, Scores]:
        """Conservative expected scores of masks: mean - kappa * sd of the members.

        Args:
            masks: bool (N, H, W).
            opinions: float32 (M, H, W), see `opinions`.

        Returns:
            ``dice``, ``recall``, ``precision``, each float64 (N,); at most 1, and where members
            disagree it may fall below 0.
        """
        expected = expected_scores(masks, opinions)
        return {key: s.mean(1) - self.kappa * s.std(1) for key, s in expected.items()}

    def scores(self, masks: npt.NDArray[np.bool_], opinions: Probability) -> dict[str, Scores]:
        """The reward: `raw_scores` after calibration, each float64 (N,) in [0, 1]."""
        return self.calibrated(self.raw_scores(masks, opinions))

    def calibrated(self, raw: Mapping[str, Scores]) -> dict[str, Scores]:
        """Each raw score through its own calibration."""
        return {key: self.calibrations[key](score) for key, score in raw.items()}

    def state(self) -> dict[str, Any]:
        """All there is to know of the network, of tensors and plain values only."""
        return {
            "members": [member.state_dict() for member in self.members],
            "features": self.features,
            "max_side": self.max_side,
            "kappa": self.kappa,
            "calibrations": {key: [c.slope, c.intercept] for key, c in self.calibrations.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "RewardNetwork":
        """The network that `state` describes."""
        return cls(
            members=list(_members(state)),
            features=state["features"],
            max_side=state["max_side"],
            kappa=state["kappa"],
            calibrations={key: Calibration(*c) for key, c in state["calibrations"].items()},
        )


def _members(state: dict[str, Any]) -> Iterator[nn.Module]:
    for weights in state["members"]:
        member = build_member(state["features"])
        member.load_state_dict(weights)
        yield member
