"""What came in, what is used of it and what is not, and what to beware of."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vesselrl.annotations.acceptance import EXCHANGED
from vesselrl.annotations.assignment import SPLITS
from vesselrl.annotations.folder import normalised
from vesselrl.errors import first_few
from vesselrl.samples import HELD_OUT, UNLABELLED, ids_of, unlabelled_pool

if TYPE_CHECKING:
    import pandas as pd

MOST_VESSEL = 0.5
"""A larger share of an image that is vessel is worth a warning."""


def account_for(
    accepted_entries: "pd.DataFrame",
    quarantine: "pd.DataFrame",
    samples: "pd.DataFrame",
    split_report: Mapping[str, Any],
    images: Iterable[str],
    original: Mapping[str, str],
) -> dict[str, Any]:
    """Count what came in, what is used and what is not, and tell what to beware of.

    Args:
        accepted_entries: the table of accepted entries.
        quarantine: the table of refused entries.
        samples: the table of samples.
        split_report: how many accepted images are not used, and warnings.
        images: names of the files in ``images/``.
        original: pseudonym of a file → its name; empty where names are not replaced.

    Returns:
        ``entries`` = ``accepted`` + ``quarantined``; ``accepted`` = ``samples`` +
        ``left_out_by_splits_file`` + ``left_out_as_look_alikes`` + ``left_out_by_limit``;
        ``splits`` with the ``images`` and ``groups`` of each; ``unlabelled_pool``, how many of the
        unlabelled images may be learned from (`vesselrl.samples.unlabelled_pool`); ``groups`` with
        their ``count`` and ``smallest`` and ``largest`` number of images; ``warnings``, each a
        sentence.
    """
    sizes = samples.groupby("group").size()
    pool = unlabelled_pool(samples)
    warnings = [*split_report["warnings"]]
    if len(quarantine):
        warnings.append(
            f"Refused: {len(quarantine)} of {len(accepted_entries) + len(quarantine)} entries; "
            "quarantine.csv tells why, for each."
        )
    if exchanged := int((quarantine["hint"] == EXCHANGED).sum()):
        oblong = accepted_entries["width"] != accepted_entries["height"]
        warnings.append(
            f"Refused entries whose polygons would fit with x and y exchanged: {exchanged}. Those "
            f"of accepted images ({oblong.sum()} are not square) may be exchanged unseen: look at "
            "ingest_overview.png."
        )
    crowded = accepted_entries.loc[accepted_entries["vessel_fraction"] > MOST_VESSEL, "file"]
    if len(crowded):
        warnings.append(
            f"Images of which more than half is vessel: {len(crowded)} "
            f"({first_few(crowded.tolist())}). Vessel is whatever is not black: invert masks that "
            "show vessels in black."
        )
    clipped = accepted_entries.loc[accepted_entries["clipped"], "file"].tolist()
    if clipped:
        warnings.append(
            f"In {len(clipped)} images polygons reach over the border and are clipped "
            f"(the first is {clipped[0]})."
        )
    files = [*accepted_entries["file"], *quarantine["file"]]
    named = {normalised(original.get(file, file)) for file in files}
    unnamed = sum(file not in named for file in images)
    if unnamed:
        warnings.append(
            f"Files in images/ that no annotation names: {unnamed}. To use them as images "
            "without labels, set ingest.unannotated to unlabelled."
        )
    for split in HELD_OUT:
        if samples.loc[samples["split"] == split, "group"].nunique() == 1:
            warnings.append(
                f"The {split} split has images of one group: what is measured there says nothing "
                "about other patients."
            )
    unlabelled = ids_of(samples, UNLABELLED)
    if withheld := len(unlabelled) - len(pool):
        warnings.append(
            f"{withheld} of {len(unlabelled)} images without labels are of groups in val or test: "
            "nothing learns from them."
        )
    return {
        "entries": len(accepted_entries) + len(quarantine),
        "accepted": len(accepted_entries),
        "quarantined": len(quarantine),
        "samples": len(samples),
        **{name: count for name, count in split_report.items() if name.startswith("left_out")},
        "splits": {
            name: {"images": len(rows), "groups": rows["group"].nunique()}
            for name in (*SPLITS, UNLABELLED)
            for rows in [samples[samples["split"] == name]]
        },
        "unlabelled_pool": len(pool),
        "groups": {
            "count": len(sizes),
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
        },
        "warnings": [*warnings, *_twins(samples, pool)],
    }


def _twins(samples: "pd.DataFrame", pool: list[str]) -> list[str]:
    """Warnings of files that are held out and learned from as well."""
    warnings = []
    used = samples[(samples["split"] != UNLABELLED) | samples["id"].isin(pool)]
    for _, twins in used[used.duplicated("sha256", keep=False)].groupby("sha256"):
        if twins["split"].nunique() > 1 and twins["split"].isin(HELD_OUT).any():
            first = twins.drop_duplicates("split")
            warnings.append(
                f"{' and '.join(first['file'])} are the same file in different splits "
                f"({' and '.join(first['split'])}): give them one group."
            )
    return warnings
