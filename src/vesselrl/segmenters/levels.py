"""Probability maps as one byte a pixel.

A probability p in [0, 1] is stored as the level ``ceil(256 p) - 1``, at least 0, and read back as
``(level + 0.5) / 256``, off by 1/512 at most. Rounding up keeps every threshold k / 256 for
k = 1 … 255, one half among them: ``p > k / 256`` holds exactly when the decoded value exceeds it.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 2**16  # of numbers, which the processor keeps near: steps are quicker than the memory


def to_levels(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Encode probabilities.

    Args:
        probabilities: floats in [0, 1], any shape.

    Returns:
        uint8, the same shape.

    Raises:
        ValueError: a value is NaN or outside [0, 1].
    """
    flat = np.ascontiguousarray(probabilities).reshape(-1)
    levels = np.empty(flat.shape, np.uint8)
    scratch = np.empty(min(_BLOCK, flat.size), np.result_type(flat, np.float32))
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        _check(block.min(), block.max())
        scaled = scratch[: block.size]
        np.multiply(block, 256, out=scaled, dtype=scaled.dtype)  # bytes would overflow
        np.ceil(scaled, out=scaled)
        scaled -= 1
        np.maximum(scaled, 0, out=scaled)
        levels[start : start + _BLOCK] = scaled
    return levels.reshape(np.shape(probabilities))


def levels_of_tensor(probabilities: "Tensor") -> npt.NDArray[np.uint8]:
    """The same of a tensor, float32 of any shape: a GPU sends a quarter of the bytes."""
    if probabilities.device.type == "cpu" or not probabilities.numel():  # of none is no least
        return to_levels(probabilities.cpu().numpy())
    _check(*(end.item() for end in probabilities.aminmax()))
    levels = (probabilities * 256).ceil_().sub_(1).clamp_(min=0).byte()
    made: npt.NDArray[np.uint8] = levels.cpu().numpy()
    return made


def _check(least: float, most: float) -> None:
    if not (least >= 0 and most <= 1):  # NaN is neither
        raise ValueError(f"Probabilities must lie in [0, 1]; found {least} to {most}.")


def from_levels(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Decode levels (uint8, any shape) to probabilities, float32 in (0, 1), the same shape."""
    return (levels.astype(np.float32) + np.float32(0.5)) / np.float32(256)
