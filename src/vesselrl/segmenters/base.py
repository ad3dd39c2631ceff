"""What every segmenter offers, and which one the parameters ask for."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.parameters import SegmenterParameters

Prompt = TypeVar("Prompt")


class Segmenter(Protocol):
    """A frozen model that answers prompts about an image with probability maps."""

    def probabilities(
        self, image: npt.NDArray[np.uint8], prompts: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """The map of each prompt; what is dear is done once per image, not once per prompt.

        Args:
            image: uint8 (H, W), or (H, W, 3) in RGB.
            prompts: names of P prompts, each a key of ``SegmenterParameters.prompts``.

        Returns:
            float32 (P, H, W) in [0, 1]; 0.5 is the prompt's own operating point.

        Raises:
            VesselrlError: the image has another shape or type, or a prompt is unknown.
        """


_CLASSES = {
    "ridge": "vesselrl.segmenters.ridge:RidgeSegmenter",
    "tophat": "vesselrl.segmenters.tophat:TophatSegmenter",
    "unet": "vesselrl.segmenters.unet.segmenter:UnetSegmenter",
}
"""Kind → class, as ``module:name``: only the kind that is used is imported."""


def build_segmenter(parameters: SegmenterParameters) -> Segmenter:
    """The segmenter of ``parameters.kind``, made from all of the parameters."""
    module, name = _CLASSES[parameters.kind].split(":")
    make: Callable[[Any], Segmenter] = getattr(import_module(module), name)
    return make(parameters)


def settings_of(prompts: Mapping[str, Prompt], asked: Sequence[str]) -> list[Prompt]:
    """What the prompts asked stand for.

    Raises:
        VesselrlError: one is unknown.
    """
    for name in asked:
        if name not in prompts:
            raise VesselrlError(
                f"Unknown prompt '{name}'; the segmenter's prompts are {', '.join(prompts)}."
            )
    return [prompts[name] for name in asked]


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Check that there is an image to segment.

    Raises:
        VesselrlError: it is not uint8 (H, W) or (H, W, 3), or has no pixels.
    """
    colour = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not (image.ndim == 2 or colour) or image.size == 0:
        raise VesselrlError(
            f"An image of type {image.dtype} and shape {image.shape} cannot be segmented; expected "
            "uint8 (H, W) or (H, W, 3)."
        )
