"""The mask decoder by itself: from what encoders and language model gave to a map, with gradients.

An image is *encoded* once: the features that SAM 2's encoder gives, and the hidden states from
which the language model's ``[SEG]`` tokens are projected. From there to the logits the models' own
code is called (``inject_language_embd``, the way in which Sa2VA is trained), so what is learned is
what the whole model answers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.sa2va.borrowing import ONE_AT_A_TIME, computing_on, listening, replaced
from vesselrl.segmenters.sa2va.encoders import unshared
from vesselrl.segmenters.sa2va.loading import device_of, load
from vesselrl.segmenters.sa2va.maps import Maps, Merge, merged
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters


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
            features: of SAM 2's encoder, (1, C, h, w) each, from fine to coarse.
            hidden: the language model's states at ``[SEG]``, (O, D).

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
