"""When a training has no use in going on."""

from collections.abc import Sequence


def is_exhausted(scores: Sequence[float], patience: int) -> bool:
    """Whether the last scores, as many as ``patience``, are no better than one before them."""
    return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience
