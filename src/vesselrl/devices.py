"""Where networks compute."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def best_device() -> torch.device:
    """A CUDA GPU if there is one, else Apple's (MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def fastest_layout() -> torch.memory_format:
    """How weights of convolutions lie in memory: channels last, but not on Apple's GPUs."""
    usual, last = torch.contiguous_format, torch.channels_last
    return usual if best_device().type == "mps" else last


def sent(numbers: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Numbers as float32 on a device, of the same shape.

    To a GPU from pinned memory: a copy from any other lasts until the GPU has done all that it was
    asked for before, and then has nothing to do until Python has asked for the next.
    """
    tensor = torch.from_numpy(numbers.astype(np.float32))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
