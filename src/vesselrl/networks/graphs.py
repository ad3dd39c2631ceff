"""What makes a training step fast on a GPU: CUDA graphs, and sixteen bits where they are enough."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn


def graphed(
    loss: nn.Module, shapes: Sequence[tuple[int, ...]], device: torch.device
) -> Callable[..., Any]:
    """A loss as CUDA graphs, forward and backward, for inputs of one size; on a CPU as it is.

    A network this small costs a GPU less time than Python needs to ask for its parts one by one.

    Args:
        loss: from float32 tensors to a float (), and others.
        shapes: of the tensors.
        device: where it is.
    """
    if device.type != "cuda":
        return loss
    # Each becomes the memory that an input is copied to: all must be their own.
    memory = tuple(torch.rand(shape, device=device) for shape in shapes)
    before = deepcopy(loss.state_dict())
    fast = torch.cuda.make_graphed_callables(loss, memory)
    loss.load_state_dict(before)  # the warm-up moved the means of the normalisation
    return cast("Callable[..., Any]", fast)


def in_mixed_precision(network: nn.Module, image: Tensor) -> Tensor:
    """What a network answers, float32; on a GPU it computes with bfloat16."""
    device = image.device.type
    with torch.autocast(device, torch.bfloat16, device == "cuda", cache_enabled=False):
        answer: Tensor = network(image)
    return answer.float()
