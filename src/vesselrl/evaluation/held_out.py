"""The images that methods are compared on: test images, of groups that nothing was learned from."""

from typing import TYPE_CHECKING

from vesselrl.errors import VesselrlError, first_few
from vesselrl.samples import UNLABELLED, ids_of

if TYPE_CHECKING:
    import pandas as pd


def held_out(samples: "pd.DataFrame") -> list[str]:
    """Ids of the test images.

    Args:
        samples: DataFrame with the columns ``id``, ``group`` and ``split``.

    Raises:
        VesselrlError: there are none, or a group of theirs is in another split too (images without
            labels apart, of which `vesselrl.samples.unlabelled_pool` leaves those out).
    """
    test = ids_of(samples, "test")
    if not test:
        raise VesselrlError(
            "There are no test images to compare methods on: give split.fractions.test a share, or "
            "name test images in splits.json."
        )
    is_test = samples["split"] == "test"
    is_other = ~is_test & (samples["split"] != UNLABELLED)
    leaking = samples[is_other & samples["group"].isin(samples.loc[is_test, "group"])]
    if len(leaking):
        groups = sorted(set(leaking["group"].astype(str)))
        raise VesselrlError(
            "Methods are not compared: test images share their group with images of "
            f"{' and '.join(sorted(set(leaking['split'])))} ({first_few(groups)}; "
            f"{len(groups)} in all). samples.csv "
            "is not as ingest made it: delete it and run again."
        )
    return test
