"""The table of samples: one row an image, with its group (patient) and split.

Images that nobody labelled, and those whose label is set aside, are in the split ``unlabelled``: no
mask is kept for them, and their vessel fraction is NaN.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Part = TypeVar("Part")

HELD_OUT = ("val", "test")
"""The splits that choose and measure: no method may learn from images of their groups."""

UNLABELLED = "unlabelled"


def ids_of(samples: "pd.DataFrame", *splits: str) -> list[str]:
    """Ids of the samples of some splits, of all without any named.

    Args:
        samples: DataFrame with the columns ``id`` and ``split``.
        splits: ``train``, ``val``, ``test``, ``unlabelled``.
    """
    chosen = samples[samples["split"].isin(splits)] if splits else samples
    return [str(sample) for sample in chosen["id"]]


def of_splits(
    partitions: Mapping[str, Part], samples: "pd.DataFrame", *splits: str
) -> dict[str, Part]:
    """Those of the samples of some splits, of all without any named: sample id → partition."""
    return {sample: partitions[sample] for sample in ids_of(samples, *splits)}


def generator_of(sample: str, seed: int) -> "np.random.Generator":
    """What draws for one sample, whichever others there are."""
    import zlib

    import numpy as np

    return np.random.default_rng([seed, zlib.crc32(sample.encode())])


def unlabelled_pool(samples: "pd.DataFrame") -> list[str]:
    """Ids, sorted, of the images without label that may be learned from.

    Those of a group (patient) that is in validation or test too are left out: a method that saw
    them would be measured on patients it knows.

    Args:
        samples: DataFrame with the columns ``id``, ``group`` and ``split``.
    """
    held_out = samples.loc[samples["split"].isin(HELD_OUT), "group"]
    return sorted(ids_of(samples[~samples["group"].isin(held_out)], UNLABELLED))


def learning_pool(samples: "pd.DataFrame") -> list[str]:
    """Ids of the images that are learnt from without their truth.

    They are the `unlabelled_pool`, the training images where there is none.
    """
    return unlabelled_pool(samples) or ids_of(samples, "train")


def group_hashes(samples: "pd.DataFrame", ids: Collection[str]) -> list[str]:
    """What weights files tell of the groups (patients) of some images: SHA-256, 16 digits, sorted.

    Whoever guesses a group's name can tell that it was learned from. With ``pseudonymise`` the
    names are pseudonyms, which nobody can guess without their key, and of which two projects have
    the same only if they have the same key.

    Args:
        samples: DataFrame with the columns ``id`` and ``group``.
        ids: of the images.
    """
    groups = samples.loc[samples["id"].astype(str).isin(ids), "group"].astype(str)
    return sorted({hashlib.sha256(group.encode()).hexdigest()[:16] for group in groups})


def known_groups(samples: "pd.DataFrame", hashes: Collection[str], *splits: str) -> int:
    """How many groups of some splits are among those that weights learned from."""
    if not hashes:
        return 0
    return len(set(hashes).intersection(group_hashes(samples, ids_of(samples, *splits))))
