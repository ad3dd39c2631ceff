"""Proximal policy optimisation of a segmenter's weights, step by step."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vesselrl.networks.augmentation import Augmentation
from vesselrl.networks.graphs import graphed, in_mixed_precision
from vesselrl.networks.learning import Learner, Pool
from vesselrl.rl.pixel.objective import clipped_objective, divergence, payments, worth
from vesselrl.rl.pixel.parameters import LearningParameters, PolicyParameters
from vesselrl.segmenters.unet.fitting import sample_squares
from vesselrl.segmenters.unet.network import SegmentationNetwork


class Step(NamedTuple):
    """What one iteration tells; floats ().

    Attributes:
        loss: at the batch's last inner step; it and `kl` are of this process's rows.
        reward: mean expected objective of the masks drawn of unlabelled squares (of labelled ones
            where there are no others).
        kl: divergence from the start at the last inner step, in nats a vessel pixel.
    """

    loss: Tensor
    reward: Tensor
    kl: Tensor


class PixelLearner(Learner):
    """A segmenter that learns by reward.

    Statistics of the batch normalisation stay those of the start. The start looks at each square
    itself: maps of it warped with the square would be blurred, and would pull the policy towards
    them before any reward moves it; like this the divergence of a policy that has not moved is 0.

    Args:
        start: the segmenter that training starts from, on the device where to train; the penalty
            holds on to it.
        parameters: of batches, masks, clipping and penalty, and the side of the squares.
        strength: of the squares' augmentation.
        objective: the scores whose mean is paid.
        seed: of squares and masks.

    Attributes:
        iteration: batches learnt from.

    Raises:
        VesselrlError: the start cannot work on squares of this size.
    """

    def __init__(
        self,
        start: SegmentationNetwork,
        parameters: PolicyParameters,
        strength: Augmentation,
        objective: Sequence[str],
        seed: int,
    ) -> None:
        parameters.check_stride(start.architecture.stride)
        device = start.device
        self._network = start
        self._parameters = parameters
        self._strength = strength
        self._policy, self._average, reference = (deepcopy(start.module).eval() for _ in range(3))
        super().__init__(
            self._policy.parameters(), self._average.parameters(), parameters.learning_rate, seed
        )
        batch = parameters.unlabelled + parameters.labelled
        square = (self._share.size(batch), parameters.patch, parameters.patch)
        masks = (square[0], parameters.samples, *square[1:])
        self._drawn = (batch, *masks[1:])
        self._first = torch.ones(1, device=device), torch.zeros(1, device=device)
        objective_of_batch = StepObjective(_Answer(self._policy), parameters, objective)
        answer = _Answer(reference.requires_grad_(False))
        shapes = ((square[0], 1, *square[1:]), square, square, square, masks, square, (1,))
        self._objective = graphed(objective_of_batch, shapes, device)
        self._start = graphed(answer, shapes[:1], device)

    def step(self, unlabelled: Pool, labelled: Pool) -> Step:
        """Learn from one batch.

        Args:
            unlabelled: images that are judged by the reward, on the learner's device, each uint8
                (3, h, w): grey, ``q`` and its standard deviation, all of 255.
            labelled: the same of images that are judged by their truth. The share of one pool in
                the batch may be 0; the pool may then be empty.
        """
        p = self._parameters
        stacks = self._draw((unlabelled, p.unlabelled), (labelled, p.labelled))
        image, maps = sample_squares(
            stacks, p.patch, self._strength, self._rng, self._noise, self._share
        )
        q, spread = maps[:, 0], maps[:, 1]
        start = self._start(image).detach()
        drawn = torch.rand(self._drawn, generator=self._noise, device=image.device)
        drawn = self._share.of(drawn)
        old = start  # the first inner step draws from the policy's own answer instead
        for inner in range(p.inner_steps):
            first = self._first[0 if inner == 0 else 1]
            loss, answer, rewards, kl = self._objective(image, q, spread, start, drawn, old, first)
            if inner == 0:
                old = answer.detach().clone()
            self._descend(loss, p.ema_decay)
        self.iteration += 1
        # A graph's outputs all count as having a gradient, and its next step overwrites them.
        reward = self._share.whole(rewards.detach())[: p.unlabelled or None].mean()
        return Step(loss.detach().clone(), reward, kl.detach().clone())

    def network(self) -> SegmentationNetwork:
        """The averaged policy as it is now; it changes with the next step."""
        return SegmentationNetwork(
            self._average, self._network.architecture, self._network.max_side
        )

    def averaged(self) -> dict[str, Tensor]:
        """The weights of `network`."""
        return self._average.state_dict()

    def state(self) -> dict[str, Any]:
        """See `Learner.state`."""
        weights = {"policy": self._policy.state_dict(), "average": self._average.state_dict()}
        return super().state() | weights

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, with the same start and parameters."""
        super().load_state(state)
        self._policy.load_state_dict(state["policy"])
        self._average.load_state_dict(state["average"])


class _Answer(nn.Module):
    """From normalised squares (B, 1, s, s) to logits, float32 (B, s, s)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, image: Tensor) -> Tensor:
        return in_mixed_precision(self._network, image)[:, 0]


class StepObjective(nn.Module):
    """From squares to what a step makes smaller; see `vesselrl.rl.pixel.objective`.

    Args:
        answer: of the policy, from squares to logits, float32 (B, s, s).
        parameters: of masks, clipping and penalty.
        objective: the scores whose mean is paid.
    """

    def __init__(
        self, answer: nn.Module, parameters: LearningParameters, objective: Sequence[str]
    ) -> None:
        super().__init__()
        self._answer = answer
        self._settings = parameters  # nn.Module has `_parameters` of its own
        self._scores = objective
        self.eval()

    def forward(
        self,
        image: Any,
        q: Tensor,
        spread: Tensor,
        start: Tensor,
        drawn: Tensor,
        old: Tensor,
        first: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One inner step.

        Args:
            image: what the policy sees: normalised, float (B, 1, s, s).
            q: float (B, s, s).
            spread: float (B, s, s).
            start: logits of the start, float (B, s, s).
            drawn: uniform in [0, 1), float (B, K, s, s): a pixel is vessel where it is below p_old.
            old: logits of the policy that draws, float (B, s, s).
            first: float (1,), 1 if the policy that draws is the present one: `old` is not read.

        Returns:
            Loss (), logits of the policy (B, s, s), mean objective of the masks drawn (B,),
            mean divergence (). Only the loss has a gradient.
        """
        p = self._settings
        logits = self._answer(image)
        with torch.no_grad():
            old = torch.where(first > 0, logits, old)
            masks = (drawn < old.sigmoid()[:, None]).float()
            value = worth(masks, q, self._scores)
            paid = payments(masks, old, q, spread, value, p.kappa)
            size = value.size.mean(1)
        gain = clipped_objective(logits, old, paid, p.clip)
        kl = divergence(logits, start).sum((1, 2)) / size
        loss = (p.kl * kl - gain).mean()
        return loss, logits.detach(), value.score.mean(1), kl.detach().mean()
