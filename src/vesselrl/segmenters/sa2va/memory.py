"""What to say where a model needs more memory than there is."""

import torch

NEEDS_LESS = (
    "segmenter.quantisation=8bit or 4bit, segmenter.device=spread over several GPUs, or a smaller "
    "model need less memory."
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error is for want of memory, of a GPU or of the machine."""
    words = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(one in words for one in ("out of memory", "can't allocate memory", "ALLOC_FAILED"))
    )
