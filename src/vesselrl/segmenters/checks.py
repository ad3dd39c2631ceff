"""Whether a segmenter keeps its contract: for whoever writes one."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import Segmenter, build_segmenter, levels_from, levels_of
from vesselrl.segmenters.candidates import encoder_passes
from vesselrl.segmenters.keys import MapKeys
from vesselrl.segmenters.levels import from_levels
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.synthetic.angiogram import draw_patient

Image = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float32]

TOLERANCE = 1 / 512
"""Maps that differ by no more count as the same: storing them in one byte a pixel loses that."""


def check_segmenter(parameters: SegmenterParameters | Mapping[str, Any]) -> None:
    """Ask a segmenter about a few small drawn images, and say which rule it breaks.

    The rules are those of `vesselrl.segmenters.base.Segmenter`: images in grey or colour, not
    square or all black, are answered and left as they are; maps have their shape, type and range,
    and depend on image and prompt alone, not on what else is asked, with it or before; what is no
    image or no prompt is refused; ``encoder_passes`` counts and ``probability_levels`` are the same
    maps, if there are such; and a copy that another process builds from the same parameters gives
    the same maps.

    Args:
        parameters: the group ``segmenter``, as conf has it. All of its prompts are asked; the
            segmenter is built twice, one copy at a time.

    Raises:
        VesselrlError: a rule is broken. What goes wrong while it is built comes as it is.
        ValidationError: the parameters are not what the kind of segmenter can be set to.

    Examples:
        >>> prompts = {"vessels": {"scales": [2], "fraction": 0.1, "min_size": 20}}
        >>> check_segmenter(
        ...     {"kind": "ridge", "default_prompt": "vessels", "max_side": 64, "prompts": prompts}
        ... )
    """
    parameters = SegmenterParameters.model_validate(parameters)
    prompts = list(parameters.prompts)
    image, other = (frame.image[:48].copy() for frame in draw_patient(seed=0, frames=2, size=64))
    maps_of_other = _check_answers(build_segmenter(parameters), prompts, image, other)
    copied = _ask(build_segmenter(_copied(parameters)), other, prompts)
    _check_same(maps_of_other, copied, "built once more from the same parameters")


def _check_answers(
    segmenter: Segmenter, prompts: Sequence[str], image: Image, other: Image
) -> Maps:
    """What one copy can be asked; it gives the maps of the other image, which `image` is then."""
    passes = encoder_passes(segmenter)
    maps = _ask(segmenter, image, prompts)
    _check_passes(encoder_passes(segmenter) - passes, len(prompts))
    _check_same(maps, _ask(segmenter, image, prompts), "asked the same again")
    stored = _stored(segmenter, image, prompts)
    _check_same(maps, stored, "asked for its probability_levels", 2 * TOLERANCE)
    for number, prompt in enumerate(prompts):
        alone = _ask(segmenter, image, [prompt])
        _check_same(maps[[number]], alone, f"asked '{prompt}' alone, not among all prompts")
    turned = _ask(segmenter, image, prompts[::-1])
    _check_same(maps[::-1], turned, "asked the prompts in another order")
    upright, colour = image.T.copy(), np.stack([image, other, image], axis=-1)
    for shown in (upright, colour, np.zeros_like(image)):
        _ask(segmenter, shown, prompts)
    _check_same(maps, _ask(segmenter, image, prompts), "asked again after other images")
    maps_of_other = _ask(segmenter, other, prompts)
    image[...] = other
    _check_same(
        maps_of_other,
        _ask(segmenter, image, prompts),
        "shown an image in the array of an earlier one (compare pixels, not arrays)",
    )
    _check_refused(segmenter, image, "no such prompt")
    for no_image in (image.astype(np.float32), np.stack([image] * 4, axis=-1)):
        _check_refused(segmenter, no_image, prompts[0])
    return maps_of_other


def _ask(segmenter: Segmenter, image: Image, prompts: Sequence[str]) -> Maps:
    """The maps, float32 (P, H, W), if nothing is wrong with them."""
    asked = f"Asked {', '.join(prompts)} about an image of shape {image.shape}, the segmenter"
    before = image.copy()
    try:
        maps = segmenter.probabilities(image, prompts)
    except Exception as error:
        raise VesselrlError(f"{asked} fails: {type(error).__name__}: {error}") from error
    if not np.array_equal(image, before):
        raise VesselrlError(f"{asked} changes the image: let it work on a copy.")
    try:
        levels_of(maps, image, prompts)
    except ValueError as error:
        raise VesselrlError(f"{asked} gives no probability maps. {error}") from error
    if maps.dtype != np.float32:
        raise VesselrlError(f"{asked} gives maps of {maps.dtype}; expected float32.")
    return maps.copy()


def _stored(segmenter: Segmenter, image: Image, prompts: Sequence[str]) -> Maps:
    """The same as they are after they have been stored."""
    try:
        return from_levels(levels_from(segmenter, image, prompts))
    except Exception as error:
        raise VesselrlError(
            "Asked for its probability_levels, the segmenter fails: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_same(maps: Maps, found: Maps, when: str, tolerance: float = TOLERANCE) -> None:
    if np.abs(maps - found).max() > tolerance:
        raise VesselrlError(
            f"The segmenter gives other maps when it is {when}: a map must depend on image and "
            "prompt alone, since it is kept."
        )


def _check_passes(made: float, prompts: int) -> None:
    """That so many passes were made for a first image; NaN if the segmenter does not tell."""
    if made < 1 or made > prompts:
        raise VesselrlError(
            f"The segmenter's encoder_passes grew by {made:g} with its first image; expected 1, or "
            f"up to one for each of the {prompts} prompts: count what is dear, or leave it out."
        )


def _check_refused(segmenter: Segmenter, image: npt.NDArray[Any], prompt: str) -> None:
    asked = (
        f"Asked '{prompt}' about an image of {image.dtype} and shape {image.shape}, the segmenter"
    )
    expected = "expected a VesselrlError, as check_image and settings_of raise it"
    try:
        segmenter.probabilities(image, [prompt])
    except VesselrlError:
        return
    except Exception as error:
        raise VesselrlError(f"{asked} raises {type(error).__name__}; {expected}.") from error
    raise VesselrlError(f"{asked} answers; {expected}.")


def _copied(parameters: SegmenterParameters) -> SegmenterParameters:
    """As a worker process gets them."""
    try:
        MapKeys(parameters)
        copy: SegmenterParameters = pickle.loads(pickle.dumps(parameters))
    except Exception as error:
        raise VesselrlError(
            f"The segmenter's parameters cannot be sent to a worker process or written down "
            f"({type(error).__name__}: {error}): let them hold plain values."
        ) from error
    return copy
