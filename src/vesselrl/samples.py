"""The table of samples: one row an image, with its group (patient) and split."""

from typing import Any


def ids_of(samples: Any, *splits: str) -> list[str]:
    """Ids of the samples of some splits, of all without any named.

    Args:
        samples: DataFrame with the columns ``id`` and ``split``.
        splits: ``train``, ``val``, ``test``.
    """
    chosen = samples[samples["split"].isin(splits)] if splits else samples
    return [str(sample) for sample in chosen["id"]]
