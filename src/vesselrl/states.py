"""States, of networks above all: dicts of tensors and plain values, kept without pickle.

Plain values are numbers, texts, None, lists and dicts of them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

State = dict[str, Any]


def parted(state: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A state as JSON and tensors.

    Returns:
        The plain values as JSON, with null where a tensor is; and the tensors, contiguous, under
        dotted names such as ``members.0.conv.weight``.

    Raises:
        TypeError: something is neither a tensor nor a plain value.
    """
    return json.dumps(state, default=_nothing), dict(_tensors(state))


def joined(plain: str, tensors: Mapping[str, Any]) -> State:
    """The state that `parted` parted.

    Raises:
        ValueError: the text is no JSON of a dict.
    """
    values = json.loads(plain)
    if not isinstance(values, dict):
        raise ValueError(f"expected a dict of values, found a {type(values).__name__}")
    state: State = _filled(values, tensors)
    return state


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value.contiguous()
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(part, _below(name, key))


def _filled(value: Any, tensors: Mapping[str, Any], name: str = "") -> Any:
    if value is None:
        return tensors.get(name)
    if isinstance(value, dict):
        return {key: _filled(part, tensors, _below(name, key)) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, tensors, _below(name, key)) for key, part in enumerate(value)]
    return value


def _below(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _nothing(value: Any) -> None:
    """What stands in JSON where a tensor is.

    Raises:
        TypeError: it is not a tensor.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"A state holds tensors and plain values, not a {type(value).__name__}.")
