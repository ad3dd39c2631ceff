"""What the whole model gives its mask decoder, once for each image; see `.decoding`."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import check_image, settings_of
from vesselrl.segmenters.sa2va.borrowing import ONE_AT_A_TIME, computing_on, listening, replaced
from vesselrl.segmenters.sa2va.decoding import Encoded, MaskDecoder, map_of
from vesselrl.segmenters.sa2va.encoders import EncoderMemory
from vesselrl.segmenters.sa2va.loading import load
from vesselrl.segmenters.sa2va.maps import Merge, maps_of, merged
from vesselrl.segmenters.sa2va.memory import NEEDS_LESS, is_out_of_memory
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters, with_image

logger = logging.getLogger(__name__)

UNLIKE = 0.01
"""Mean difference of two maps of one image above which they are not the same but for rounding."""


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


def encodings(
    encode: Callable[[npt.NDArray[np.uint8]], Encoded],
    images: Mapping[str, Callable[[], npt.NDArray[np.uint8]]],
) -> dict[str, Callable[[], dict[str, Tensor]]]:
    """Encode many images, one when it is asked for.

    An image on which the model fails counts as one in which it finds nothing, unless it fails on
    all of them.

    Args:
        encode: an `Encoder`.
        images: sample id → loader of uint8 (H, W) or (H, W, 3).

    Returns:
        Sample id → maker of the tensors of `Encoded`, which raises a `VesselrlError` when the model
        has failed on all images.
    """
    failed: set[str] = set()

    def make(sample: str) -> dict[str, Tensor]:
        image = images[sample]()
        try:
            return encode(image).tensors()
        except VesselrlError:
            raise
        except Exception as error:
            logger.exception("The model failed on '%s': it counts as seeing nothing there.", sample)
            failed.add(sample)
            if len(failed) == len(images):
                reason = str(error).strip().partition("\n")[0].rstrip(".")
                hint = "the traceback is in the log file."
                raise VesselrlError(
                    f"The model failed on all {len(images)} images, so nothing can be learned from "
                    f"them; on the last by {type(error).__name__} ({reason}): "
                    f"{NEEDS_LESS if is_out_of_memory(error) else hint}"
                ) from error
            return Encoded.nothing(image.shape[:2], 0.0).tensors()

    return {sample: partial(make, sample) for sample in images}
