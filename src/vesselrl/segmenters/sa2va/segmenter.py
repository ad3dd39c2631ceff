"""Sa2VA behind the protocol of all segmenters."""

import gc
import logging
import traceback
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import PromptsFailed, check_image, settings_of
from vesselrl.segmenters.sa2va.borrowing import ONE_AT_A_TIME, computing_on, listening
from vesselrl.segmenters.sa2va.encoders import EncoderMemory
from vesselrl.segmenters.sa2va.loading import load
from vesselrl.segmenters.sa2va.maps import Maps, maps_of, merged
from vesselrl.segmenters.sa2va.memory import NEEDS_LESS, is_out_of_memory
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters, with_image

logger = logging.getLogger(__name__)


class Sa2vaSegmenter:
    """A Sa2VA model, asked in its own words; the encoders see each image once.

    It may be asked from several threads: they wait for each other.
    """

    def __init__(self, parameters: Sa2vaParameters) -> None:
        self._parameters = parameters
        self._loaded = load(parameters)
        self._memory = EncoderMemory(self._loaded.model, self._loaded.helpers.get("processor"))
        self._image: npt.NDArray[np.uint8] | None = None

    @property
    def encoder_passes(self) -> int:
        """How often the encoders have run since the model was loaded."""
        return self._memory.passes

    def probabilities(self, image: npt.NDArray[np.uint8], prompts: Sequence[str]) -> Maps:
        """The map of each prompt, float32 (P, H, W) in [0, 1], of uint8 (H, W) or (H, W, 3).

        Above 0.5 a map is the union (`Sa2vaParameters.merge`) of the masks that the model's own
        ``predict_forward`` gives, bit for bit. A prompt that the model does not answer with a mask
        has a map of zeros.
        """
        texts = [with_image(one.text) for one in settings_of(self._parameters.prompts, prompts)]
        check_image(image)
        picture = Image.fromarray(image).convert("RGB")
        found = np.zeros((len(prompts), *image.shape[:2]), np.float32)
        errors: dict[str, Exception] = {}
        with (
            ONE_AT_A_TIME,
            computing_on(self._loaded.device, self._loaded.dtype),
            torch.inference_mode(),
        ):
            if self._image is None or not np.array_equal(self._image, image):
                self._memory.forget()
                self._image = image.copy()
            for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
                try:
                    found[number] = self._answer(picture, text)
                except Exception as error:
                    _let_go(error)
                    errors[prompt] = error
        if errors:
            raise PromptsFailed(found, errors)
        return found

    def _answer(self, picture: Image.Image, text: str) -> Maps:
        """The map of one prompt; when memory is short, once more with all of it."""
        try:
            with self._memory.in_use():
                return self._ask(picture, text)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("Not enough memory for '%s'; trying again with all of it.", text)
        self._memory.forget()
        gc.collect()
        torch.cuda.empty_cache()
        try:
            return self._ask(picture, text)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise VesselrlError(
                f"There is not enough memory to ask '{text}' of an image of {picture.width} × "
                f"{picture.height} pixels: {NEEDS_LESS}"
            ) from error

    def _ask(self, picture: Image.Image, text: str) -> Maps:
        """Call the model and listen to its mask decoder."""
        model, shape = self._loaded.model, (picture.height, picture.width)
        with listening(model, self._loaded.device) as logits:
            answer = model.predict_forward(image=picture, text=text, **self._loaded.helpers)
        logger.debug("'%s': %s", text, answer.get("prediction"))
        return merged(maps_of(answer, logits, shape), self._parameters.merge)


def _let_go(error: BaseException | None) -> None:
    """Empty the frames of a traceback: they hold tensors, which the next prompt needs room for."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
