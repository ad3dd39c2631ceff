"""What our segmenter learns from: images at its own size, with their truth if there is one."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vesselrl.devices import best_device
from vesselrl.networks.imaging import grey, reduced
from vesselrl.networks.residents import Residents
from vesselrl.segmenters.unet.fitting import Pair

Example = Mapping[str, npt.NDArray[Any]]
"""What `segmenter_example` returns."""

Loader = Callable[[], Example]


def segmenter_example(
    image: npt.NDArray[np.uint8], truth: npt.NDArray[np.bool_] | None, max_side: int
) -> dict[str, npt.NDArray[np.uint8]]:
    """One image at the size (h, w) at which the network works.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        truth: bool (H, W); None for an image without label.
        max_side: longer images are reduced to this side, in pixels.

    Returns:
        ``image`` uint8 (h, w), grey; and, of a labelled image, ``truth`` uint8 (h, w), 255 where
        all of the pixel is vessel.
    """
    example = {"image": _bytes(reduced(grey(image), max_side))}
    if truth is not None:
        example["truth"] = _bytes(reduced(truth.astype(np.float32), max_side))
    return example


def pairs(
    loaders: Mapping[str, Loader],
    device: torch.device | None = None,
    targets: Mapping[str, Callable[[], npt.NDArray[np.uint8]]] | None = None,
) -> Residents[Pair]:
    """Images and what is to be learned of them, on a device, each loaded when first asked for.

    Args:
        loaders: id → loader of an example.
        device: where training runs; None is the best one of the process that asks.
        targets: id → loader of the target, uint8 (h, w), 255 for certain vessel; without them the
            examples' truth.
    """
    return Residents(
        [
            partial(_pair, load, targets[sample] if targets else None, device)
            for sample, load in loaders.items()
        ]
    )


def _pair(
    load: Loader, target: Callable[[], npt.NDArray[np.uint8]] | None, device: torch.device | None
) -> Pair:
    example = load()
    shown = target() if target else example["truth"]
    return torch.from_numpy(np.stack([example["image"], shown])).to(device or best_device())


def _bytes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = np.round(values * 255).astype(np.uint8)
    return rounded
