"""Nodes of the pipeline ``ingest``: annotations and images in, samples, images and masks out."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tqdm import tqdm

from vesselrl.annotations import splits
from vesselrl.annotations.entries import Refusal, describe
from vesselrl.annotations.folder import read
from vesselrl.annotations.parameters import IngestParameters, SplitParameters
from vesselrl.errors import VesselrlError
from vesselrl.progress import with_progress

logger = logging.getLogger(__name__)

Partitions = dict[str, Callable[[], Any]]

QUARANTINE_COLUMNS = ["entry", "file", "field", "reason", "hint"]
SAMPLE_COLUMNS = [
    "id", "file", "width", "height", "group", "split", "sha256", "vessel_fraction", "text",
]  # fmt: skip


def check_annotations(
    raw_annotations: Any, raw_images: Mapping[str, Callable[[], bytes]], ingest: IngestParameters
) -> tuple[list[dict[str, Any]], Any]:
    """Accept or quarantine every entry.

    Args:
        raw_annotations: content of ``annotations.json``.
        raw_images: file name → loader of the file's bytes.
        ingest: size limit, and whether a single refusal stops the run.

    Returns:
        The accepted entries, as `vesselrl.annotations.acceptance.accept` returns them, each with
        its ``id``; and the quarantine, a table with the columns ``entry`` (number from 0),
        ``file``, ``field``, ``reason``, ``hint``. Together they are as many as the entries.

    Raises:
        VesselrlError: the annotations are not a list, none can be used, or, when strict, not all.
    """
    import pandas as pd

    from vesselrl.annotations.acceptance import accept, name_of, sample_ids

    if not isinstance(raw_annotations, list):
        raise VesselrlError(
            f"annotations.json holds {describe(raw_annotations)}; expected a list of objects "
            '{"image": "x.png", "mask": [[x1, y1, x2, y2, …], …]}.'
        )
    accepted: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    taken: dict[str, int] = {}
    for number, raw in enumerate(tqdm(raw_annotations, "Checking entries", unit="image")):
        try:
            entry = accept(raw, raw_images, taken, ingest.max_pixels)
        except Refusal as refusal:
            finding = [refusal.field, refusal.reason, refusal.hint]
            row = dict(zip(QUARANTINE_COLUMNS, [number, name_of(raw), *finding], strict=True))
            refused.append(row)
            continue
        taken[entry["file"]] = number
        accepted.append(entry)
    _stop_if_unusable(len(accepted), refused, ingest.strict)
    ids = sample_ids(taken)
    return (
        [{"id": ids[entry["file"]], **entry} for entry in accepted],
        pd.DataFrame(refused, columns=QUARANTINE_COLUMNS),
    )


def _stop_if_unusable(accepted: int, refused: list[dict[str, Any]], strict: bool) -> None:
    """Stop where nothing can go on, or where strictness asks for it."""
    if accepted and not (strict and refused):
        return
    if not refused:
        raise VesselrlError("annotations.json holds no entries: expected one object an image.")
    first = refused[0]
    name = f" ({first['file']})" if first["file"] else ""
    example = f"entry {first['entry']}{name}: {first['reason']}; {first['hint']}"
    total = accepted + len(refused)
    if accepted:
        raise VesselrlError(
            f"{len(refused)} of {total} entries of annotations.json cannot be used, and "
            f"ingest.strict is true. The first is {example}."
        )
    raise VesselrlError(
        f"None of the {total} entries of annotations.json can be used. The first is {example}."
    )


def split_samples(
    accepted_entries: list[dict[str, Any]],
    raw_groups: Any,
    raw_splits: Any,
    split: SplitParameters,
    seed: int,
) -> tuple[Any, dict[str, Any]]:
    """Put every accepted image in a group and a split.

    Args:
        accepted_entries: see `check_annotations`.
        raw_groups: content of ``groups.json``, or None.
        raw_splits: content of ``splits.json``, or None; it goes before the fractions.
        split: fractions, pattern of the groups, most images of each split.
        seed: fixes the splits.

    Returns:
        The table of samples, one row an image that is used: ``id``, ``file``, ``width``,
        ``height``, ``group``, ``split``, ``sha256``, ``vessel_fraction``, ``text``. And how many
        accepted images are not in it and why, with warnings.

    Raises:
        VesselrlError: ``groups.json`` or ``splits.json`` cannot be obeyed.
    """
    import pandas as pd

    files = [entry["file"] for entry in accepted_entries]
    groups, warnings = splits.group_files(files, raw_groups, split.group_pattern)
    if raw_splits is not None:
        split_of, more = splits.obey_splits_file(raw_splits, groups)
    else:
        by_group = splits.split_groups(set(groups.values()), split.fractions, seed)
        split_of = {file: by_group[groups[file]] for file in files}
        more = splits.share_warnings(split_of, groups, split.fractions)
    used = set(splits.within_limits(split_of, groups, split.max_images, seed))
    rows = [
        {**entry, "group": groups[entry["file"]], "split": split_of[entry["file"]]}
        for entry in accepted_entries
        if entry["file"] in used
    ]
    return pd.DataFrame(rows, columns=SAMPLE_COLUMNS), {
        "left_out_by_splits_file": len(files) - len(split_of),
        "left_out_by_limit": len(split_of) - len(used),
        "warnings": warnings + more,
    }


def decode_images(
    samples: Any, raw_images: Mapping[str, Callable[[], bytes]], ingest: IngestParameters
) -> Partitions:
    """Bring every image into one form.

    Returns:
        Sample id → maker of uint8 (H, W) or (H, W, 3), see `vesselrl.annotations.pictures.decode`.
    """
    from vesselrl.annotations.pictures import decode

    def make(file: str) -> Any:
        return decode(read(raw_images, file), ingest.max_pixels)

    makers: Partitions = {row.id: partial(make, row.file) for row in samples.itertuples()}
    return with_progress(makers, "Writing images")


def draw_masks(samples: Any, accepted_entries: list[dict[str, Any]]) -> Partitions:
    """Fill the polygons of every sample.

    Returns:
        Sample id → maker of a mask, bool (H, W).
    """
    from vesselrl.annotations.polygons import rasterise

    entries = {entry["id"]: entry for entry in accepted_entries}

    def make(sample: str) -> Any:
        entry = entries[sample]
        return rasterise(entry["polygons"], entry["height"], entry["width"])

    makers: Partitions = {sample: partial(make, sample) for sample in samples["id"]}
    return with_progress(makers, "Writing masks")


def write_ingest_report(
    accepted_entries: list[dict[str, Any]],
    quarantine: Any,
    samples: Any,
    split_report: dict[str, Any],
    raw_images: Mapping[str, Callable[[], bytes]],
) -> dict[str, Any]:
    """Count what came in, what is used and what is not, and tell what to beware of.

    Returns:
        ``entries`` = ``accepted`` + ``quarantined``; ``accepted`` = ``samples`` +
        ``left_out_by_splits_file`` + ``left_out_by_limit``; ``splits`` with the ``images`` and
        ``groups`` of each; ``groups`` with their ``count`` and ``smallest`` and ``largest`` number
        of images; ``warnings``, each a sentence.
    """
    sizes = samples.groupby("group").size()
    warnings = [*split_report["warnings"]]
    if len(quarantine):
        warnings.append(
            f"{len(quarantine)} of {len(accepted_entries) + len(quarantine)} entries are in "
            "quarantine.csv, each with a reason."
        )
    clipped = [entry["file"] for entry in accepted_entries if entry["clipped"]]
    if clipped:
        warnings.append(
            f"In {len(clipped)} images polygons reach over the border and are clipped "
            f"(the first is {clipped[0]})."
        )
    named = {entry["file"] for entry in accepted_entries} | set(quarantine["file"])
    unnamed = sum(file not in named for file in raw_images)
    if unnamed:
        warnings.append(f"{unnamed} files in images/ have no entry in annotations.json.")
    for _, twins in samples.groupby("sha256"):
        if twins["split"].nunique() > 1:
            first = twins.drop_duplicates("split")
            warnings.append(
                f"{' and '.join(first['file'])} are the same file in different splits "
                f"({', '.join(first['split'])}): give them one group."
            )
    for warning in warnings:
        logger.warning(warning)
    return {
        "entries": len(accepted_entries) + len(quarantine),
        "accepted": len(accepted_entries),
        "quarantined": len(quarantine),
        "samples": len(samples),
        "left_out_by_splits_file": split_report["left_out_by_splits_file"],
        "left_out_by_limit": split_report["left_out_by_limit"],
        "splits": {
            name: {"images": len(rows), "groups": rows["group"].nunique()}
            for name in splits.SPLITS
            for rows in [samples[samples["split"] == name]]
        },
        "groups": {
            "count": len(sizes),
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
        },
        "warnings": warnings,
    }


def draw_ingest_overview(images: Partitions, masks: Partitions, samples: Any) -> Any:
    """Draw what was read: images with their masks' contours, sizes of splits, vessel fractions.

    Returns:
        A Matplotlib figure.
    """
    from vesselrl.annotations.overview import draw_overview

    return draw_overview(images, masks, samples)
