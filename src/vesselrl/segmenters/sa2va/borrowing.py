"""Parts of a model that are replaced for a while."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

ONE_AT_A_TIME = threading.RLock()
"""While a model is asked, parts of it and of torch are replaced."""
_ABSENT = object()


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put something else in the place of an attribute, and the old one back, whatever happens.

    Args:
        owner: an object or a class.
        name: the attribute.
        make: given the old value, gives the new one.
    """
    own = vars(owner).get(name, _ABSENT)  # what its class has is found again when this is gone
    setattr(owner, name, make(getattr(owner, name)))
    try:
        yield
    finally:
        if own is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


@contextmanager
def computing_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Let code that calls ``.cuda()`` compute on another device than the first GPU.

    On the CPU ``.cuda()`` leaves tensors and modules where they are, and bfloat16 runs under
    autocast; both hold for the whole process, so only one thread may be here at a time.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            yield
        return
    stay: Callable[[Any], Any] = lambda _: lambda self, *args, **kwargs: self  # noqa: E731
    with (
        replaced(torch.Tensor, "cuda", stay),
        replaced(torch.nn.Module, "cuda", stay),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        yield


@contextmanager
def listening(model: Any, device: torch.device) -> Iterator[list[torch.Tensor]]:
    """Note what the model's mask decoder gives, logits of shape (frames, 1, h, w) for an object.

    And let the decoder keep what it tracks on `device`: its code says ``cuda``.
    """
    logits: list[torch.Tensor] = []

    def noting(decode: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def decode_and_note(*args: Any, **kwargs: Any) -> torch.Tensor:
            result = decode(*args, **kwargs)
            logits.append(result)
            return result

        return decode_and_note

    def staying(start: Callable[..., Any]) -> Callable[..., Any]:
        def start_here(*args: Any, **kwargs: Any) -> Any:
            state = start(*args, **kwargs)
            if isinstance(state, dict):
                places = {"device", "storage_device"} & state.keys()
                state.update(dict.fromkeys(places, device))
            return state

        return start_here

    decoder = getattr(model, "grounding_encoder", None)
    sam = getattr(decoder, "sam2_model", None)
    with ExitStack() as stack:
        if hasattr(decoder, "language_embd_inference"):
            stack.enter_context(replaced(decoder, "language_embd_inference", noting))
        if hasattr(sam, "init_state"):
            stack.enter_context(replaced(sam, "init_state", staying))
        yield logits
