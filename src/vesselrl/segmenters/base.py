"""What every segmenter offers, and which one the parameters ask for."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError
from vesselrl.extensions import built_in_or_extension
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.parameters import SegmenterParameters

Prompt = TypeVar("Prompt")


class PromptsFailed(Exception):  # noqa: N818  # it says what happened, and holds the answers
    """Some prompts about an image failed; the others were answered.

    A segmenter that can go on after a failure raises this when it has asked all prompts.

    Attributes:
        probabilities: float32 (P, H, W), as `Segmenter.probabilities` gives them, zeros where a
            prompt failed.
        errors: prompt → what went wrong, with its traceback; at least one.
    """

    def __init__(
        self, probabilities: npt.NDArray[np.float32], errors: Mapping[str, Exception]
    ) -> None:
        self.probabilities = probabilities
        self.errors = errors
        described = (f"'{name}': {type(e).__name__}: {e}" for name, e in errors.items())
        super().__init__(
            f"{len(errors)} of {len(probabilities)} prompts failed; first {next(described)}"
        )


class Segmenter(Protocol):
    """A frozen model that answers prompts about an image with probability maps.

    A map may depend on image and prompt alone: maps are kept, and made by worker processes that
    each build a segmenter from the same parameters. `vesselrl.segmenters.checks.check_segmenter`
    tries whether one keeps all that is said here.

    It may have an attribute ``encoder_passes``: how often what is dear was done since it was made;
    and a method ``probability_levels``, which answers as `levels_from` does, sooner, with a new
    array each time.
    """

    def probabilities(
        self, image: npt.NDArray[np.uint8], prompts: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """The map of each prompt; what is dear is done once per image, not once per prompt.

        Args:
            image: uint8 (H, W), or (H, W, 3) in RGB; it is not changed.
            prompts: names of P prompts, each a key of ``SegmenterParameters.prompts``.

        Returns:
            float32 (P, H, W) in [0, 1]; 0.5 is the prompt's own operating point.

        Raises:
            VesselrlError: the image has another shape or type, or a prompt is unknown.
            PromptsFailed: some prompts failed; it holds the answers to the others.
        """


_CLASSES = {
    "ridge": "vesselrl.segmenters.ridge:RidgeSegmenter",
    "tophat": "vesselrl.segmenters.tophat:TophatSegmenter",
    "unet": "vesselrl.segmenters.unet.segmenter:UnetSegmenter",
    "sa2va": "vesselrl.segmenters.sa2va.segmenter:Sa2vaSegmenter",
}
"""Kind → class, as ``module:name``: only the kind that is used is imported. Others: extensions."""


def segmenter_class(kind: str) -> type[Any]:
    """The class of a kind of segmenter, made from all of its parameters."""
    found: type[Any] = built_in_or_extension(_CLASSES, kind, "Segmenter")
    return found


def build_segmenter(parameters: SegmenterParameters) -> Segmenter:
    """The segmenter of ``parameters.kind``, made from all of the parameters."""
    segmenter: Segmenter = segmenter_class(parameters.kind)(parameters)
    return segmenter


def settings_of(prompts: Mapping[str, Prompt], asked: Sequence[str]) -> list[Prompt]:
    """What the prompts asked stand for.

    Raises:
        VesselrlError: one is unknown.

    Examples:
        >>> settings_of({"dark": 150, "darker": 120}, ["darker"])
        [120]
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


def levels_from(
    segmenter: Segmenter, image: npt.NDArray[np.uint8], prompts: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Ask a segmenter for the maps of prompts as they are stored, uint8 (P, H, W).

    Raises:
        ValueError: it gave something else; see `levels_of`.
        Exception: whatever `Segmenter.probabilities` raises.
    """
    if ask := getattr(segmenter, "probability_levels", None):
        levels: npt.NDArray[np.uint8] = ask(image, prompts)
        _check_maps(levels, image, prompts)
        if levels.dtype != np.uint8:
            raise ValueError(f"The levels are of {levels.dtype}; expected uint8.")
        return levels
    return levels_of(segmenter.probabilities(image, prompts), image, prompts)


def levels_of(
    maps: Any, image: npt.NDArray[np.uint8], prompts: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """What a segmenter gave, as it is stored: uint8 (P, H, W); see `vesselrl.segmenters.levels`.

    Raises:
        ValueError: it is no array of the shape (P, H, W), or a value is NaN or outside [0, 1].
    """
    _check_maps(maps, image, prompts)
    return to_levels(maps)


def _check_maps(maps: Any, image: npt.NDArray[np.uint8], prompts: Sequence[str]) -> None:
    if not isinstance(maps, np.ndarray):
        raise ValueError(f"The maps are a {type(maps).__name__}; expected an array.")
    shape = (len(prompts), *image.shape[:2])
    if maps.shape != shape:
        raise ValueError(f"The maps have shape {maps.shape}; expected {shape}.")
