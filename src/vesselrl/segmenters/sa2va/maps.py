"""What a model answers → the probability map of a prompt."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

logger = logging.getLogger(__name__)

Maps = npt.NDArray[np.float32]
Merge = Literal["union", "first", "largest"]


def maps_of(answer: dict[str, Any], logits: Sequence[torch.Tensor], shape: tuple[int, int]) -> Maps:
    """The probability maps of the objects in an answer.

    The model's ``prediction_masks`` are cut already, so they say nothing about other thresholds.
    Where the model gives ``probability_maps``, these are taken; else the mask decoder's logits,
    enlarged as the model does it, so that above 0.5 they are its masks bit for bit. Where neither
    fits the masks one to one, the masks themselves are all there is.

    Args:
        answer: what ``predict_forward`` gave: ``prediction_masks``, a list with one entry of shape
            (frames, H, W) for an object, perhaps none, and perhaps ``probability_maps`` like it.
        logits: what the mask decoder gave during the call, (frames, 1, h, w) each.
        shape: (H, W) of the image.

    Returns:
        float32 (objects, H, W) in [0, 1], of the first frame.

    Raises:
        ValueError: the maps have another shape, or hold numbers that are no probabilities.
    """
    masks = [_first_frame(mask) > 0 for mask in answer.get("prediction_masks") or []]
    given = answer.get("probability_maps")
    if given is not None and len(given):
        maps = [_first_frame(one).float() for one in given]
    elif masks and len(logits) == len(masks):
        maps = [_enlarged(one, shape) for one in logits]
        if any(not torch.equal(one > 0.5, mask) for one, mask in zip(maps, masks, strict=True)):
            logger.warning(
                "The model's masks are not its decoder's maps above 0.5, so its code does more "
                "with them; the decoder's maps are used."
            )
    else:
        if masks:
            logger.warning(
                "The model's %d masks do not fit the %d maps of its decoder, so the masks are "
                "used as they are: no other threshold changes them.",
                len(masks),
                len(logits),
            )
        maps = [mask.float() for mask in masks]
    found = np.zeros((len(maps), *shape), np.float32)
    for number, one in enumerate(maps):
        if tuple(one.shape) != shape:
            raise ValueError(f"A map has shape {tuple(one.shape)}; expected that of the image.")
        found[number] = one.numpy()
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(
            "The model's maps hold numbers that are no probabilities (with float16 they may "
            "overflow: segmenter.dtype=bfloat16)."
        )
    return found


def merged(maps: Maps, how: Merge) -> Maps:
    """One map of the objects of an answer; an answer without any is a map of zeros.

    Args:
        maps: float32 (objects, H, W).
        how: ``union``: the largest value, whose masks at any threshold are the union of theirs;
            ``first``: the first object; ``largest``: the one with most pixels above 0.5.

    Returns:
        float32 (H, W).
    """
    if len(maps) == 0:
        return np.zeros(maps.shape[1:], np.float32)
    if how == "union":
        union: Maps = maps.max(axis=0)
        return union
    chosen = 0 if how == "first" else int(np.argmax((maps > 0.5).sum(axis=(1, 2))))
    return maps[chosen]


def _first_frame(mask: Any) -> torch.Tensor:
    """(H, W) of (frames, H, W), on the CPU."""
    tensor = torch.as_tensor(mask).cpu()
    return tensor[0] if tensor.ndim > 2 else tensor


def _enlarged(logits: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Logits (frames, 1, h, w) → probabilities (H, W) of the first frame, as the model does it."""
    large = functional.interpolate(logits, size=shape, mode="bilinear", align_corners=False)
    return large[:, 0].sigmoid()[0].float().cpu()
