"""Where networks compute."""

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
