"""The mask decoder by itself: from what encoders and language model gave to a map, with gradients.

An image is *encoded* once: the features that SAM 2's encoder gives, and the hidden states from
which the language model's ``[SEG]`` tokens are projected. From there to the logits the models' own
code is called (``inject_language_embd``, the way in which Sa2VA is trained), so what is learned is
what the whole model answers.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import check_image, settings_of
from vesselrl.segmenters.sa2va.borrowing import ONE_AT_A_TIME, computing_on, listening, replaced
from vesselrl.segmenters.sa2va.encoders import EncoderMemory, unshared
from vesselrl.segmenters.sa2va.loading import device_of, load
from vesselrl.segmenters.sa2va.maps import Maps, Merge, maps_of, merged
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters, with_image

UNLIKE = 0.01
"""Mean difference of two maps of one image above which they are not the same but for rounding."""


class Encoded(NamedTuple):
    """What an image is to the mask decoder, on the CPU, of O objects in the model's answer.

    Attributes:
        features: of SAM 2's encoder, (1, C, h, w) each, from fine to coarse; none without objects.
        hidden: the language model's states at ``[SEG]``, (O, D).
        start: the decoder's logits before any adapter, float32 (O, h, w).
        side: of the square maps to which the model enlarges its logits, in pixels.
        shape: (H, W) of the image.
        seconds: what the model's answer took.
    """

    features: tuple[Tensor, ...]
    hidden: Tensor
    start: Tensor
    side: int
    shape: tuple[int, int]
    seconds: float

    @property
    def objects(self) -> int:
        """How many the model found."""
        return len(self.hidden)

    @property
    def nbytes(self) -> int:
        """Memory of the tensors."""
        return sum(one.nbytes for one in (*self.features, self.hidden, self.start))

    def tensors(self) -> dict[str, Tensor]:
        """All of it as tensors by name."""
        return {
            **{f"features.{number}": one for number, one in enumerate(self.features)},
            "hidden": self.hidden,
            "start": self.start,
            "sizes": torch.tensor([self.side, *self.shape]),
            "seconds": torch.tensor(self.seconds, dtype=torch.float64),
        }

    @classmethod
    def nothing(cls, shape: tuple[int, int], seconds: float) -> "Encoded":
        """An image in which the model found no object."""
        return cls((), torch.zeros(0, 1), torch.zeros(0, 1, 1), 1, shape, seconds)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Encoded":
        """What `tensors` gave."""
        count = sum(name.startswith("features.") for name in tensors)
        side, height, width = tensors["sizes"].tolist()
        return cls(
            tuple(tensors[f"features.{number}"] for number in range(count)),
            tensors["hidden"],
            tensors["start"],
            side,
            (height, width),
            float(tensors["seconds"]),
        )


class MaskDecoder(nn.Module):
    """From features and hidden states to logits; its modules are named as in the whole model.

    Args:
        model: of which ``grounding_encoder`` and ``text_hidden_fcs`` are taken.

    Raises:
        VesselrlError: the model's code has no such decoder.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not hasattr(getattr(model, "grounding_encoder", None), "inject_language_embd"):
            raise VesselrlError(
                "The code that comes with this model has no inject_language_embd, the way to its "
                "mask decoder with gradients: take it from a newer published Sa2VA."
            )
        self.grounding_encoder = model.grounding_encoder
        self.text_hidden_fcs = model.text_hidden_fcs

    def forward(self, features: tuple[Tensor, ...], hidden: Tensor) -> Tensor:
        """Logits of each object at the decoder's own size.

        Args:
            features: see `Encoded`.
            hidden: see there.

        Returns:
            float32 (O, h, w).
        """
        weights = next(self.text_hidden_fcs.parameters())
        device, dtype = weights.device, weights.dtype
        sam = self.grounding_encoder.sam2_model
        levels = [one.to(device) for one in features]
        # of the positions only the shapes are read where there is no earlier frame
        places = [one.new_zeros(1, 1, 1, 1).expand_as(one) for one in levels]
        kept = {"backbone_fpn": levels, "vision_pos_enc": places}
        halves = device.type == "cuda" or dtype == torch.bfloat16  # as the models' own code has it
        found = []
        with (
            ONE_AT_A_TIME,
            computing_on(device, dtype),
            listening(self, device),
            replaced(sam, "forward_image", lambda _: lambda *_: unshared(kept)),
        ):
            embeddings = self.text_hidden_fcs(hidden.to(device))
            for embedding in embeddings:
                image = torch.zeros(1, 3, 1, 1, device=device)  # its features are there already
                state = self.grounding_encoder.get_sam2_embeddings(image)
                with torch.autocast(device.type, torch.bfloat16, enabled=halves):
                    found.append(
                        self.grounding_encoder.inject_language_embd(state, [embedding[None]])
                    )
        return torch.cat([one.flatten(0, -3).float() for one in found])


def load_decoder(parameters: Sa2vaParameters) -> MaskDecoder:
    """The mask decoder of a model, frozen; encoders and language model never reach the GPU.

    Raises:
        VesselrlError: see `vesselrl.segmenters.sa2va.loading.load` and `MaskDecoder`.
    """
    aside = parameters.model_copy(update={"device": "cpu", "quantisation": "none"})
    decoder = MaskDecoder(load(aside).model)
    decoder.grounding_encoder.sam2_model.image_encoder = nn.Identity()
    return decoder.to(device_of(parameters)).eval().requires_grad_(False)


class Encoder:
    """Asks a whole model one prompt about an image, and keeps what its mask decoder was given.

    Args:
        parameters: of the model.
        prompt: its name.

    Raises:
        VesselrlError: see `load_decoder`.
    """

    def __init__(self, parameters: Sa2vaParameters, prompt: str) -> None:
        (setting,) = settings_of(parameters.prompts, [prompt])
        self._text = with_image(setting.text)
        self._merge: Merge = parameters.merge
        self._loaded = load(parameters)
        self._decoder = MaskDecoder(self._loaded.model)
        self._memory = EncoderMemory(self._loaded.model)

    def __call__(self, image: npt.NDArray[np.uint8]) -> Encoded:
        """Encode an image, uint8 (H, W) or (H, W, 3).

        Raises:
            VesselrlError: what the whole model answers is not what its decoder gives.
        """
        check_image(image)
        picture = Image.fromarray(image).convert("RGB")
        model, device = self._loaded.model, self._loaded.device
        shape = (picture.height, picture.width)
        self._memory.forget()
        with ONE_AT_A_TIME, torch.inference_mode():
            started = time.perf_counter()
            with (
                computing_on(device, self._loaded.dtype),
                self._memory.in_use(),
                listening(model, device) as logits,
                _noting(model) as (features, hidden),
            ):
                answer = model.predict_forward(
                    image=picture, text=self._text, **self._loaded.helpers
                )
            seconds = time.perf_counter() - started
            maps = maps_of(answer, logits, shape)
            if not logits:
                return Encoded.nothing(shape, seconds)
            start = self._decoder(tuple(features[-1]), hidden[-1])
        encoded = Encoded(
            tuple(one.detach().cpu().clone() for one in features[-1]),
            hidden[-1].detach().cpu().clone(),
            start.cpu().clone(),
            logits[-1].shape[-1],
            shape,
            seconds,
        )
        decoded = map_of(encoded.start, encoded, self._merge)
        difference = float(np.abs(decoded - merged(maps, self._merge)).mean())
        if difference > UNLIKE:
            raise VesselrlError(
                f"The model's map of an image and its mask decoder's differ by {difference:.3f} on "
                "average: its code does more with what the decoder gives, so training the decoder "
                "would train something else. Only models whose masks are their decoder's can learn."
            )
        return encoded


def map_of(logits: Tensor, encoded: Encoded, merge: Merge) -> Maps:
    """The probability map of an image, enlarged as the model does it, float32 (H, W).

    Args:
        logits: of the decoder, float32 (O, h, w).
        encoded: the image.
        merge: how objects become one map.
    """
    if not encoded.objects:
        return np.zeros(encoded.shape, np.float32)
    square, bilinear = (encoded.side, encoded.side), {"mode": "bilinear", "align_corners": False}
    large = functional.interpolate(logits.detach()[:, None], square, **bilinear)  # type: ignore[arg-type]
    maps = functional.interpolate(large, encoded.shape, **bilinear)[:, 0].sigmoid()  # type: ignore[arg-type]
    return merged(maps.cpu().numpy(), merge)


def merged_logits(logits: Tensor, encoded: Encoded, merge: Merge) -> Tensor:
    """One map of the objects' logits, (O, h, w) → (h, w); which is largest, the start tells."""
    if merge == "union":
        return logits.amax(0)
    largest = int((encoded.start > 0).sum((1, 2)).argmax())
    return logits[largest if merge == "largest" else 0]


@contextmanager
def _noting(model: Any) -> Iterator[tuple[list[list[Tensor]], list[Tensor]]]:
    """What SAM 2's encoder gives, and what the projection of ``[SEG]`` is given."""
    features: list[list[Tensor]] = []
    hidden: list[Tensor] = []

    def noting(encode: Any) -> Any:
        def encode_and_note(*args: Any, **kwargs: Any) -> Any:
            result = encode(*args, **kwargs)
            features.append(list(result["backbone_fpn"]))
            return result

        return encode_and_note

    hook = model.text_hidden_fcs.register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
    try:
        with replaced(model.grounding_encoder.sam2_model, "forward_image", noting):
            yield features, hidden
    finally:
        hook.remove()
