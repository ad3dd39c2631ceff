"""What a model does with an image alone, done once for all prompts.

Most of a call's time goes into two encoders that see the image and not the prompt, that of SAM 2
and that of the language model, and into preparing the image for them on the CPU. What each gives is
kept with what it was given, and given again for an equal input: the same numbers, so the answer is
the same to the last bit.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch

from vesselrl.segmenters.sa2va.borrowing import replaced


class EncoderMemory:
    """What the encoders of a model gave for the present image, and how it was prepared for them.

    Args:
        model: the model.
        processor: its processor, if it has one.
    """

    def __init__(self, model: Any, processor: Any = None) -> None:
        self._places = encoder_places(model)
        self._runs = [0] * len(self._places)
        self._prepares = preparation_places(model, processor)
        self._kept: dict[str, list[tuple[Any, Any]]] = {}

    @property
    def passes(self) -> int:
        """How often any one encoder really ran: once an image, however many prompts."""
        return max(self._runs, default=0)

    def forget(self) -> None:
        """Let go of what was kept: another image comes, or memory is short."""
        self._kept.clear()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the model's encoders be asked here first; afterwards they are as they were."""
        with ExitStack() as stack:
            for number, (owner, name) in enumerate(self._places):
                stack.enter_context(replaced(owner, name, partial(self._encoding, number)))
            for owner, name in self._prepares:
                stack.enter_context(replaced(owner, name, partial(self._preparing, name)))
            yield

    def _encoding(self, number: int, encode: Callable[..., Any]) -> Callable[..., Any]:
        def encode_and_count(*args: Any, **kwargs: Any) -> Any:
            result = encode(*args, **kwargs)
            self._runs[number] += 1
            return result

        return self._once(f"encoder {number}", encode_and_count, _cloned, unshared)

    def _preparing(self, name: str, prepare: Callable[..., Any]) -> Callable[..., Any]:
        # arrays and pictures are small enough to be copied each time: the model may write into them
        return self._once(name, prepare, deepcopy, deepcopy)

    def _once(
        self,
        key: str,
        work: Callable[..., Any],
        keep: Callable[[Any], Any],
        give: Callable[[Any], Any],
    ) -> Callable[..., Any]:
        """Work that is done once for equal inputs.

        Args:
            key: under which its results are kept.
            work: what is done.
            keep: makes the copy of an input that later ones are compared with.
            give: makes what is given of a result that is kept.
        """

        def once(*args: Any, **kwargs: Any) -> Any:
            given = (args, kwargs)
            kept = self._kept.setdefault(key, [])
            for earlier, result in kept:
                if _equal(earlier, given):
                    return give(result)
            copy = keep(given)  # before the work, which may write into it
            result = work(*args, **kwargs)
            kept.append((copy, result))
            return give(result)

        return once


def preparation_places(model: Any, processor: Any) -> list[tuple[Any, str]]:
    """Which functions prepare an image on the CPU without seeing the prompt, as (owner, name).

    In all families ``extra_image_processor.apply_image`` and ``grounding_encoder.preprocess_image``
    for SAM 2; for the language model ``transformer`` in those based on InternVL,
    ``image_processor.preprocess`` of the processor in those based on Qwen-VL.
    """
    places = [
        (getattr(model, "extra_image_processor", None), "apply_image"),
        (getattr(model, "grounding_encoder", None), "preprocess_image"),
        (model, "transformer"),
        (getattr(processor, "image_processor", None), "preprocess"),
    ]
    return [
        (owner, name)
        for owner, name in places
        if callable(found := getattr(owner, name, None)) and not isinstance(found, torch.nn.Module)
    ]


def encoder_places(model: Any) -> list[tuple[Any, str]]:
    """Which methods of a model encode the image, as (owner, name).

    In all families ``grounding_encoder.sam2_model.forward_image``; and ``extract_feature`` in those
    based on InternVL, ``visual.forward`` in those based on Qwen-VL.
    """
    places: list[tuple[Any, str]] = []
    sam = getattr(getattr(model, "grounding_encoder", None), "sam2_model", None)
    if hasattr(sam, "forward_image"):
        places.append((sam, "forward_image"))
    if hasattr(model, "extract_feature"):
        places.append((model, "extract_feature"))
    else:
        found = [one for name, one in model.named_modules() if name.split(".")[-1] == "visual"]
        places += [(visual, "forward") for visual in found[:1]]
    return places


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = one.dtype == other.dtype and one.device == other.device
        return alike and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """New lists, tuples and dicts around changed tensors."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(item, change) for item in value))
    if type(value) in (list, tuple):
        return type(value)(_mapped(item, change) for item in value)
    if type(value) is dict:
        return {key: _mapped(item, change) for key, item in value.items()}
    return value


def _cloned(value: Any) -> Any:
    """Tensors of their own in lists and dicts of their own."""
    return _mapped(value, lambda tensor: tensor.clone())


def unshared(result: Any) -> Any:
    """The same tensors in lists and dicts of their own: SAM 2 puts others into those it gets."""
    return _mapped(result, lambda tensor: tensor)
