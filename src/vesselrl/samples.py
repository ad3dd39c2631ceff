"""The table of samples: one row an image, with its group (patient) and split.

Images that nobody labelled, and those whose label is set aside, are in the split ``unlabelled``: no
mask is kept for them, and their vessel fraction is NaN.
"""

from typing import Any

HELD_OUT = ("val", "test")
"""The splits that choose and measure: no method may learn from images of their groups."""

UNLABELLED = "unlabelled"


def ids_of(samples: Any, *splits: str) -> list[str]:
    """Ids of the samples of some splits, of all without any named.

    Args:
        samples: DataFrame with the columns ``id`` and ``split``.
        splits: ``train``, ``val``, ``test``, ``unlabelled``.
    """
    chosen = samples[samples["split"].isin(splits)] if splits else samples
    return [str(sample) for sample in chosen["id"]]


def unlabelled_pool(samples: Any) -> list[str]:
    """Ids, sorted, of the images without label that may be learned from.

    Those of a group (patient) that is in validation or test too are left out: a method that saw
    them would be measured on patients it knows.

    Args:
        samples: DataFrame with the columns ``id``, ``group`` and ``split``.
    """
    held_out = samples.loc[samples["split"].isin(HELD_OUT), "group"]
    return sorted(ids_of(samples[~samples["group"].isin(held_out)], UNLABELLED))
