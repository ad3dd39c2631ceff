"""How GPUs fare that PyTorch uses, for which it is not loaded where it was not."""

import math
import sys
from typing import Any


def reset_peak() -> None:
    """Measure anew from here on."""
    for device, cuda in _gpus():
        cuda.reset_peak_memory_stats(device)


def peak_mb() -> float:
    """The most since the last reset on any one GPU, in MB; NaN if this process uses none."""
    # max_memory_allocated would sort all statistics, at some of the cost of a quick network's pass.
    stats = [cuda.memory_stats_as_nested_dict(device) for device, cuda in _gpus()]
    peaks = [float(of_one["allocated_bytes"]["all"]["peak"]) for of_one in stats]
    return max(peaks) / 1e6 if peaks else math.nan


def are_usable() -> bool:
    """Whether GPUs can go on: after some errors of CUDA, all that follows in a process fails."""
    try:
        for device, cuda in _gpus():
            cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def _gpus() -> list[tuple[int, Any]]:
    """The number of each GPU, and what to ask about it; none before PyTorch was asked to use any.

    (Asking about a GPU that is not in use would take hundreds of MB of its memory.)
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    return [(device, torch.cuda) for device in range(torch.cuda.device_count())]
