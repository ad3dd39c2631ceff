"""The reward network: judges a mask without ground truth.

It reads an image and a *candidate* (a probability map, or any mask as one) and answers per pixel
with the probability ``q`` that the truth is vessel there. A mask enters only the closed form of
`vesselrl.reward.closed_form`, never the network: whoever optimises the mask cannot fool the
network with it, and one forward pass judges every mask of an image.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vesselrl.devices import best_device
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.folding import folded
from vesselrl.networks.graphs import Replayed
from vesselrl.networks.imaging import grey, normalised, padded, reduced
from vesselrl.reward.calibration import Line, PlattScaling
from vesselrl.reward.closed_form import Probability
from vesselrl.reward.scoring import Scoring
from vesselrl.segmenters.levels import from_levels
from vesselrl.threads import one_thread

SILENT = 127
"""The level of a candidate that says nothing: one half, near enough."""


def mean_candidate(probabilities: Probability) -> Probability:
    """What the network is asked about an image: the mean of all maps, (P, H, W) → (H, W)."""
    return probabilities.mean(0)


def network_input(image: Tensor, candidate: Tensor) -> Tensor:
    """Stack the two inputs as the network sees them.

    Args:
        image: float (B, H, W), any range, see `normalised`.
        candidate: float (B, H, W) in [0, 1].

    Returns:
        float (B, 2, H, W).
    """
    return torch.stack([normalised(image), candidate * 2 - 1], dim=1)


def _bottleneck(member: nn.Module, seen: Tensor) -> Tensor:
    """The encoder's last map, float (B, C, h, w), of what `Architecture.build` built."""
    unshuffle, unet, _ = member.children()
    hidden = unshuffle(seen)
    for part in (unet.conv_0, unet.down_1, unet.down_2, unet.down_3, unet.down_4):
        hidden = part(hidden)  # type: ignore[operator]
    return hidden


class RewardNetwork:
    """An ensemble of dense judges, calibrated.

    Args:
        members: the networks, all of one architecture and on one device.
        architecture: of each of them.
        max_side: images are reduced to this side, in pixels, before the networks see them.
        scoring: how their opinions become scores.
        scaling: of the pixels' log-odds.
        is_final: whether the weights change no more, so that passes may be folded (see
            `vesselrl.networks.folding`) and become CUDA graphs.
    """

    def __init__(
        self,
        members: list[nn.Module],
        architecture: Architecture,
        max_side: int,
        scoring: Scoring,
        scaling: PlattScaling | None = None,
        is_final: bool = False,
    ) -> None:
        self.members = [member.eval() for member in members]
        self.architecture = architecture
        self.max_side = max_side
        self.scoring = scoring
        self.scaling = scaling or PlattScaling()
        self._is_final = is_final
        self._answers, self._pooled = (
            Replayed(function) if is_final else function for function in (self._ask, self._pool)
        )

    @property
    def device(self) -> torch.device:
        """Where the members are."""
        return next(self.members[0].parameters()).device

    def opinions(self, image: npt.NDArray[np.uint8], candidate: Probability) -> Probability:
        """Where each member believes the truth to be, scaled so that masks are judged well.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            candidate: float32 (H, W) in [0, 1].

        Returns:
            float32 (M, H, W): per pixel the probability of vessel.
        """
        return self._probabilities(image, candidate, self.scaling)

    def own_map(self, image: npt.NDArray[np.uint8], candidate: Probability) -> Probability:
        """Where the network itself sees vessel, float32 (H, W): its members' mean.

        Not scaled: the scaling is fitted to scores of masks, not to single pixels.
        """
        return self._probabilities(image, candidate, PlattScaling()).mean(0)

    @one_thread()
    @torch.inference_mode()
    def _probabilities(
        self, image: npt.NDArray[np.uint8], candidate: Probability, scaling: PlattScaling
    ) -> Probability:
        height, width = candidate.shape
        pair = self._pair(image, candidate)
        seen = padded(pair, self.architecture.stride)
        odds = self._answers(seen)
        q = (scaling.slope * odds + scaling.intercept).sigmoid()
        q = q[..., : pair.shape[2], : pair.shape[3]]
        if q.shape[2:] != (height, width):
            q = functional.interpolate(q, (height, width), mode="bilinear", align_corners=False)
        return q[:, 0].cpu().numpy()

    @cached_property
    def _judges(self) -> list[nn.Module]:
        return [folded(one) for one in self.members] if self._is_final else self.members

    def _ask(self, seen: Tensor) -> Tensor:
        return torch.cat([judge(seen) for judge in self._judges])

    def _pair(self, image: npt.NDArray[np.uint8], candidate: Probability) -> Tensor:
        """What the members see, at their resolution: float (1, 2, h, w) on their device."""
        pair = torch.from_numpy(reduced(np.stack([grey(image), candidate]), self.max_side))
        return network_input(pair[:1], pair[1:]).to(self.device)

    @one_thread()
    @torch.inference_mode()
    def image_features(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What the members make of an image alone, before any segmenter has been asked about it.

        Beside the image they see a candidate that says nothing, as in a share of their training
        (`vesselrl.reward.batches.UNSEEN`); each channel where the encoder is narrowest is averaged
        over the image.

        Args:
            image: uint8 (H, W) or (H, W, 3).

        Returns:
            float32 (M · C,), the C channels of each member in turn.
        """
        silent = from_levels(np.full(image.shape[:2], SILENT, np.uint8))
        seen = padded(self._pair(image, silent), self.architecture.stride)
        return self._pooled(seen).cpu().numpy()

    def _pool(self, seen: Tensor) -> Tensor:
        return torch.cat([_bottleneck(judge, seen).mean((2, 3))[0] for judge in self._judges])

    def state(self) -> dict[str, Any]:
        """All there is to know of the network, of tensors (on the CPU) and plain values only."""
        lines = self.scoring.lines
        return {
            "members": [
                {key: tensor.cpu() for key, tensor in member.state_dict().items()}
                for member in self.members
            ],
            "features": list(self.architecture.features),
            "downscale": self.architecture.downscale,
            "max_side": self.max_side,
            "aggregation": self.scoring.aggregation,
            "kappa": self.scoring.kappa,
            "scaling": [self.scaling.slope, self.scaling.intercept],
            "lines": {key: [line.slope, line.intercept] for key, line in lines.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "RewardNetwork":
        """The network that `state` describes, on the best device there is."""
        architecture = Architecture(2, tuple(state["features"]), state["downscale"])
        return cls(
            members=[architecture.load(member).to(best_device()) for member in state["members"]],
            architecture=architecture,
            max_side=state["max_side"],
            scoring=Scoring(
                state["aggregation"],
                state["kappa"],
                {key: Line(*numbers) for key, numbers in state["lines"].items()},
            ),
            scaling=PlattScaling(*state["scaling"]),
            is_final=True,
        )
