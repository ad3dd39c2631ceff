"""From an image as it is stored to what a network sees."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vesselrl.colour import one_channel


def grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """One channel of an image, float32 (H, W) in [0, 1]; see `vesselrl.colour.one_channel`."""
    return one_channel(image).astype(np.float32) / np.float32(255)


def reduced_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """The size of an image after `reduced`."""
    scale = max_side / max(height, width)
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def reduced(array: npt.NDArray[np.float32], max_side: int) -> npt.NDArray[np.float32]:
    """Shrink maps (…, H, W) by averaging until no side is longer than `max_side`."""
    height, width = array.shape[-2:]
    if reduced_size(height, width, max_side) == (height, width):
        return array
    stack = torch.from_numpy(np.ascontiguousarray(array)).reshape(1, -1, height, width)
    small: npt.NDArray[np.float32] = shrunk(stack, max_side).numpy()
    return small.reshape(*array.shape[:-2], *small.shape[-2:])


def shrunk(batch: Tensor, max_side: int) -> Tensor:
    """The same of maps (B, C, H, W), on their device."""
    height, width = batch.shape[2:]
    size = reduced_size(height, width, max_side)
    if size == (height, width):
        return batch
    if batch.device.type == "mps":  # there torch 2.9 refuses all but whole ratios of sizes
        return functional.interpolate(batch.cpu(), size, mode="area").to(batch.device)
    return functional.interpolate(batch, size, mode="area")


def normalised(image: Tensor) -> Tensor:
    """Bring each image of float (B, H, W), of any range, to zero mean and unit variance."""
    centred = image - image.mean((1, 2), keepdim=True)
    spread = centred.square().mean((1, 2), keepdim=True).sqrt()  # faster than `std`
    return centred / spread.clamp_min(1e-3)


def padded(batch: Tensor, stride: int) -> Tensor:
    """Repeat the last rows and columns of (B, C, H, W) until `stride` divides the sides."""
    right, below = (-side % stride for side in (batch.shape[3], batch.shape[2]))
    return functional.pad(batch, (0, right, 0, below), mode="replicate")
