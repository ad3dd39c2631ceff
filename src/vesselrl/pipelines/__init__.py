"""One folder a pipeline: ``pipeline.py`` is the wiring, ``nodes.py`` pure functions."""

from collections.abc import Callable, Mapping
from typing import Any

Partitions = dict[str, Callable[[], Any]]
"""Name → loader of what was saved under it, or maker of what will be: nothing is in memory yet."""


def part(load: Callable[[], Mapping[str, Any]], name: str) -> Any:
    """One of the arrays that a partition holds."""
    return load()[name]
