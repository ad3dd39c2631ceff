"""What makes small networks fast on a GPU: CUDA graphs, and sixteen bits where they are enough."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

# Times that a size must have come: to make a graph takes as long as a hundred passes. The number is
# odd: what asks about each image twice, to time the second answer, does not time the making.
_OFTEN = 51
_MOST = 48  # sizes, each asked about in each way


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


class Replayed:
    """A function of one tensor; on a GPU, what it does with inputs of one size becomes a graph.

    A CUDA graph is worth its making where many images of one size are asked about one by one. The
    answers are those of the function. A copy, or another process, makes graphs of its own.

    Args:
        function: from a tensor, and how it is asked about, to a tensor, of these and of weights
            that do not change any more; it is called in `torch.inference_mode`, while no other
            thread uses the GPU, and must not wait for it.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._asked: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, _Graph] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Replayed, (self._function,)

    def __call__(self, given: Tensor, *how: Hashable) -> Tensor:
        """What the function answers."""
        if given.device.type != "cuda":
            return self._function(given, *how)
        key = (given.shape, how)
        self._asked[key] += 1
        if key not in self._graphs:
            # tried once: where there is no memory for it, only one question fails
            if self._asked[key] != _OFTEN or len(self._graphs) == _MOST:
                return self._function(given, *how)
            pool = next((one.pool for one in self._graphs.values()), None)
            self._graphs[key] = _Graph(lambda own: self._function(own, *how), given, pool)
        return self._graphs[key](given)


class _Graph:
    """A CUDA graph with the memory of its input and its answer.

    Attributes:
        pool: the memory of what is in between; graphs that are never at work together share it.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], given: Tensor, pool: Any) -> None:
        self.pool = torch.cuda.graph_pool_handle() if pool is None else pool
        self._given = given.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, self.pool):
            self._answer = function(self._given)

    def __call__(self, given: Tensor) -> Tensor:
        self._given.copy_(given)
        self._graph.replay()
        return self._answer.clone()
