"""Proximal policy optimisation of adapters on a Sa2VA model's mask decoder, step by step."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from vesselrl.errors import VesselrlError
from vesselrl.networks.learning import Learner
from vesselrl.reward.closed_form import Probability
from vesselrl.rl.pixel.parameters import LearningParameters, LoraParameters
from vesselrl.rl.pixel.ppo import Step, StepObjective
from vesselrl.segmenters.sa2va.adapters import Adapters, adapters_of, attach
from vesselrl.segmenters.sa2va.decoding import Encoded, MaskDecoder, map_of, merged_logits
from vesselrl.segmenters.sa2va.maps import Merge

logger = logging.getLogger(__name__)


class Judged(NamedTuple):
    """An image to learn from, on the CPU.

    Attributes:
        encoded: what the decoder is given of it; with one object or more.
        maps: uint8 (3, h, w): grey, ``q`` and its standard deviation, all of 255; see
            `vesselrl.rl.pixel.reward_maps`.
    """

    encoded: Encoded
    maps: Tensor

    @property
    def nbytes(self) -> int:
        """Memory of both."""
        return self.encoded.nbytes + self.maps.nbytes


class AdapterPolicy(NamedTuple):
    """A decoder with adapters, as a policy whose map can be looked at.

    Attributes:
        decoder: with adapters.
        weights: of the adapters, by the decoder's names.
        merge: how objects become one map.
    """

    decoder: nn.Module
    weights: Mapping[str, Tensor]
    merge: Merge

    def probability(self, image: Encoded) -> Probability:
        """The map of an image, float32 (H, W) in [0, 1]; of zeros where the model saw nothing."""
        if not image.objects:
            return map_of(image.start, image, self.merge)
        with torch.no_grad():
            given = (image.features, image.hidden)
            logits = functional_call(self.decoder, dict(self.weights), given)
        return map_of(logits, image, self.merge)


class AdapterLearner(Learner):
    """Adapters that learn by reward, all other weights frozen.

    The gradient of a batch is summed image by image, so that memory is needed for one, and images
    may differ in size. Nothing is augmented: images are encoded once.

    Args:
        decoder: of the model, frozen, on the device where to train; `release` gives it back.
        merge: how objects become one map.
        lora: size of the adapters.
        parameters: of learning.
        objective: the scores whose mean is paid.
        seed: of adapters, images and masks.

    Attributes:
        iteration: batches learnt from.
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        merge: Merge,
        lora: LoraParameters,
        parameters: LearningParameters,
        objective: Sequence[str],
        seed: int,
    ) -> None:
        self._device = next(decoder.parameters()).device
        self._decoder = attach(decoder, lora.rank, lora.alpha, seed)
        self._merge = merge
        self._parameters = parameters
        self._objective = StepObjective(_Answer(self._decoder, merge), parameters, objective)
        named = {n: one for n, one in self._decoder.named_parameters() if one.requires_grad}
        self._average = {name: one.detach().clone() for name, one in named.items()}
        super().__init__(named.values(), self._average.values(), parameters.learning_rate, seed)

    @property
    def trained(self) -> int:
        """How many numbers are trained."""
        return sum(one.numel() for one in self._weights)

    def step(self, unlabelled: Sequence[Judged], labelled: Sequence[Judged]) -> Step:
        """Learn from one batch.

        Args:
            unlabelled: images that are judged by the reward.
            labelled: images that are judged by their truth. The share of either in the batch may
                be 0; it may then be empty.
        """
        p = self._parameters
        chosen = self._draw((unlabelled, p.unlabelled), (labelled, p.labelled))
        drawn = [self._random_masks(one) for one in chosen]
        old: list[Tensor | None] = [None] * len(chosen)
        for _ in range(p.inner_steps):
            self.optimiser.zero_grad()
            told = []
            for place, one in enumerate(chosen):
                loss, answer, reward, kl = self._one(one, drawn[place], old[place])
                (loss / len(chosen)).backward()
                if old[place] is None:
                    old[place] = answer.detach().clone()
                told.append(torch.stack([loss.detach(), reward[0], kl]))
            self._step(p.ema_decay)
        self.iteration += 1
        loss, _, kl = torch.stack(told).mean(0)
        reward = torch.stack(told)[: p.unlabelled or None, 1].mean()
        return Step(loss, reward, kl)

    def _random_masks(self, image: Judged) -> Tensor:
        size = (1, self._parameters.samples, *image.maps.shape[1:])
        return torch.rand(size, generator=self._noise, device=self._device)

    def _one(self, image: Judged, drawn: Tensor, old: Tensor | None) -> Any:
        """One image of an inner step: see `StepObjective`."""
        _, q, spread = image.maps.to(self._device).float()[:, None] / 255
        start = _at_size(image.encoded.start.to(self._device), image, self._merge)
        first = torch.full((1,), float(old is None), device=self._device)
        return self._objective(image, q, spread, start, drawn, start if old is None else old, first)

    def network(self) -> AdapterPolicy:
        """The averaged policy as it is now; it changes with the next step."""
        return AdapterPolicy(self._decoder, self._average, self._merge)

    def averaged(self) -> dict[str, Tensor]:
        """The weights of `network`."""
        return self._average

    def release(self, weights: Mapping[str, Tensor], base: str) -> Adapters:
        """The adapters with these weights; the decoder is without any afterwards.

        Args:
            weights: of all adapters, as `averaged` names them.
            base: what tells the model from others.
        """
        self._decoder.load_state_dict(weights, strict=False)
        adapters = adapters_of(self._decoder, base)
        self._decoder.unload()
        return adapters

    def state(self) -> dict[str, Any]:
        """See `Learner.state`."""
        policy = {n: one.detach() for n, one in zip(self._average, self._weights, strict=True)}
        return super().state() | {"policy": policy, "average": self._average}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, with the same decoder and parameters."""
        super().load_state(state)
        self._decoder.load_state_dict(state["policy"], strict=False)
        for name, mean in self._average.items():
            mean.copy_(state["average"][name])


class _Answer(nn.Module):
    """From an image to the policy's logits at the size of its maps, float32 (1, h, w)."""

    def __init__(self, decoder: nn.Module, merge: Merge) -> None:
        super().__init__()
        self._decoder = decoder
        self._merge: Merge = merge

    def forward(self, image: Judged) -> Tensor:
        logits = self._decoder(image.encoded.features, image.encoded.hidden)
        return _at_size(logits, image, self._merge)


def _at_size(logits: Tensor, image: Judged, merge: Merge) -> Tensor:
    """Logits of objects (O, h', w') → one map at the size of the image's maps, (1, h, w)."""
    one = merged_logits(logits, image.encoded, merge)[None, None]
    size = image.maps.shape[1:]
    return functional.interpolate(one, size, mode="bilinear", align_corners=False)[0]


def with_an_object(
    pools: Sequence[Sequence[str]],
    encodings: Mapping[str, Callable[[], Mapping[str, Tensor]]],
    prompt: str,
) -> set[str]:
    """Which images the model finds something in: nothing can be learnt of the others.

    Args:
        pools: ids of the images to learn from.
        encodings: id → loader of the tensors of `Encoded`.
        prompt: which the model was asked.

    Raises:
        VesselrlError: there are none in one of the pools.
    """
    ids = set().union(*pools)
    found = {sample for sample in ids if len(encodings[sample]()["hidden"])}
    if not all(found.intersection(pool) for pool in pools):
        raise VesselrlError(
            f"Asked '{prompt}' the model finds no object in any image to learn from, so its mask "
            "decoder has nothing to learn: name another prompt, segmenter.default_prompt."
        )
    if blind := len(ids - found):
        logger.warning(
            "In %d of %d images the model finds no object when asked '%s': they are not learnt "
            "from.", blind, len(ids), prompt,
        )  # fmt: skip
    return found
