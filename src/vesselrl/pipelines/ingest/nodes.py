"""Nodes of the pipeline ``ingest``: annotations and images in, samples, images and masks out."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from tqdm import tqdm

from vesselrl.annotations import assignment, splits
from vesselrl.annotations.parameters import (
    AnnotationsParameters,
    IngestParameters,
    SplitParameters,
)
from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.errors import VesselrlError
from vesselrl.samples import UNLABELLED

logger = logging.getLogger(__name__)

Files = Mapping[str, Callable[[], bytes]]
Opener = Callable[[str, float], Any]
Loaders = Mapping[str, Callable[[], Any]]

QUARANTINE_COLUMNS = ["entry", "file", "field", "reason", "hint"]
ACCEPTED_COLUMNS = [
    "entry", "id", "file", "frame", "width", "height", "sha256", "vessel_fraction", "clipped",
    "text", "perceptual_hash", "key",
]  # fmt: skip
SAMPLE_COLUMNS = [
    "id", "file", "width", "height", "group", "split", "sha256", "vessel_fraction", "text",
]  # fmt: skip


def check_annotations(
    raw_annotations: Opener,
    raw_images: Files,
    raw_hashes: Mapping[str, str],
    earlier_checks: Any,
    pseudonym_key: Callable[[], bytes],
    pseudonymise: bool,
    annotations: AnnotationsParameters,
    ingest: IngestParameters,
) -> tuple[Any, Any, dict[str, Any]]:
    """Accept or quarantine every entry.

    Args:
        raw_annotations: opens the annotations, given their format and the size limit of JSON.
        raw_images: file name → loader of the file's bytes.
        raw_hashes: path of a file of the raw data → hash of its content.
        earlier_checks: what was found in earlier runs; what is found in this one is added.
        pseudonym_key: gives the key of the pseudonyms.
        pseudonymise: whether names are replaced.
        annotations: what the annotations are in.
        ingest: size limit, whether a single refusal stops the run, and whether images that no
            entry names are entries without label, which come after all others.

    Returns:
        The accepted entries, a table with a row each: number of the ``entry`` (from 0), ``id``,
        what `vesselrl.annotations.checking.FACTS` names (``vessel_fraction`` NaN without a label),
        and a ``key`` that differs if anything does that the check depends on. And the quarantine, a
        table with the columns ``entry``, ``file``, ``field``, ``reason``, ``hint``. Together they
        have as many rows as there are entries. Last, what the pseudonyms in both stand for.

    Raises:
        VesselrlError: the annotations cannot be read, none can be used, or, when strict, not all.
    """
    import pandas as pd

    from vesselrl.annotations.acceptance import sample_ids
    from vesselrl.annotations.checking import Check, check_all, refuse_duplicates
    from vesselrl.annotations.sources import with_unannotated

    source = raw_annotations(annotations.format, annotations.max_json_mb)
    names = Pseudonyms(pseudonym_key() if pseudonymise else None)
    check = Check(raw_images, source.masks, ingest.max_pixels)
    entries: Iterable[Any] = source
    count: int | None = len(source)
    if ingest.unannotated == "unlabelled":
        entries, count = with_unannotated(source, raw_images), None
    checked = check_all(entries, names, check, raw_hashes, earlier_checks, ingest.workers)
    bar = tqdm(checked, "Checking entries", count, unit="image")
    accepted: dict[str, list[Any]] = {name: [] for name in ACCEPTED_COLUMNS}
    refused: list[list[Any]] = []
    for number, (entry, finding) in enumerate(refuse_duplicates(bar, ingest.max_pixels)):
        if "refused" in finding:
            refused.append([number, entry.name, *finding["refused"]])
            continue
        for name, value in finding["accepted"].items():
            accepted[name].append(value)
        accepted["entry"].append(number)
        accepted["key"].append(entry.key or "")
    _stop_if_unusable(source.name, len(accepted["entry"]), refused, ingest.strict)
    ids = sample_ids(accepted["file"])
    accepted["id"] = [ids[file] for file in accepted["file"]]
    quarantine = pd.DataFrame(refused, columns=QUARANTINE_COLUMNS)
    table = pd.DataFrame(accepted).astype({"vessel_fraction": float})
    return table, quarantine, names.table


def _stop_if_unusable(name: str, accepted: int, refused: list[list[Any]], strict: bool) -> None:
    """Stop where nothing can go on, or where strictness asks for it."""
    if accepted and not (strict and refused):
        return
    if not refused:
        raise VesselrlError(f"{name} holds no entries: expected one object an image.")
    number, file, _, reason, hint = refused[0]
    example = f"entry {number}{f' ({file})' if file else ''}: {reason}; {hint}"
    total = accepted + len(refused)
    if accepted:
        raise VesselrlError(
            f"{len(refused)} of {total} entries of {name} cannot be used, and "
            f"ingest.strict is true. The first is {example}."
        )
    raise VesselrlError(
        f"None of the {total} entries of {name} can be used. The first is {example}."
    )


def split_samples(
    accepted_entries: Any,
    raw_images: Files,
    raw_groups: Any,
    raw_splits: Any,
    earlier_split_assignments: Any,
    file_names: dict[str, Any],
    pseudonym_key: Callable[[], bytes],
    pseudonymise: bool,
    split: SplitParameters,
    seed: int,
) -> tuple[Any, dict[str, Any], Any, dict[str, Any], dict[str, Any]]:
    """Put every accepted image in a group and a split.

    Args:
        accepted_entries: see `check_annotations`.
        raw_images: see there.
        raw_groups: content of ``groups.json``, or None.
        raw_splits: content of ``splits.json``, or None; it goes before the fractions.
        earlier_split_assignments: which groups an earlier run put in which split, or None.
        file_names: what the pseudonyms of files stand for.
        pseudonym_key: gives the key of the pseudonyms.
        pseudonymise: whether names are replaced.
        split: fractions, pattern of the groups, most images of each split, what to do on a leak.
        seed: fixes the splits.

    Returns:
        The table of samples, one row an image that is used: ``id``, ``file``, ``width``,
        ``height``, ``group``, ``split``, ``sha256``, ``vessel_fraction``, ``text``. Images without
        label are in the split ``unlabelled``, as are those that ``splits.json`` puts there, whose
        label is not used: their ``vessel_fraction`` is NaN. How many accepted images are not in the
        table and why, with warnings. The pairs of groups whose images look alike. The assignment
        for the next run to hold to. What the pseudonyms given here stand for: those of groups, and
        of names in either JSON file that no image has.

    Raises:
        VesselrlError: ``groups.json`` or ``splits.json`` cannot be obeyed, no image has a label, or
            groups look alike across splits and ``on_leak`` is ``stop``.
    """
    import pandas as pd

    from vesselrl.annotations import duplicates

    names = Pseudonyms(pseudonym_key() if pseudonymise else None, file_names)
    files = accepted_entries["file"].tolist()
    groups, warnings = splits.group_files(files, raw_groups, split.group_pattern, names)
    of_group = accepted_entries["file"].map(groups)
    labelled = set(accepted_entries.loc[accepted_entries["vessel_fraction"].notna(), "file"])
    hashes = dict(zip(files, accepted_entries["perceptual_hash"], strict=True))
    look_alikes = duplicates.find_look_alikes(hashes, groups, split.near_duplicate_bits)
    earlier, more = assignment.remembered(
        earlier_split_assignments, split.fractions, seed, pseudonymise
    )
    linked = duplicates.linked_groups(look_alikes) if split.on_leak == "move" else []
    assigned: dict[str, str] = {}
    if raw_splits is not None:
        split_of, more = splits.obey_splits_file(names.splits_table(raw_splits), groups, labelled)
    else:
        fractions = accepted_entries.groupby(of_group)["vessel_fraction"].mean().dropna().to_dict()
        together = [one for tied in linked if len(one := tied & fractions.keys()) > 1]
        assigned = assignment.assign_groups(fractions, split.fractions, seed, earlier, together)
        more += duplicates.tell_together(together, earlier, assigned)
        split_of = {f: assigned[groups[f]] if f in labelled else UNLABELLED for f in files}
    placed = {file: side for file, side in split_of.items() if side != UNLABELLED}
    if not placed:
        raise VesselrlError(
            f"None of the {len(files)} accepted images has a label that is used: give some of them "
            "a mask in the annotations, and, if there is a splits.json, put such images in train, "
            "val and test there."
        )
    if raw_splits is None:
        more += splits.share_warnings(placed, groups, split.fractions)
    distinct, told = splits.without_look_alikes(split_of, groups, linked)
    by_group = splits.side_of_groups(distinct, groups)
    more += told
    more += duplicates.tell_leaks(
        duplicates.leaks(look_alikes, by_group), by_group, split.on_leak, raw_splits is not None
    )
    given = {"groups.json": raw_groups, "splits.json": raw_splits}
    more += splits.strangers(given, {*raw_images, *map(names.original, files)}, names)
    used = splits.within_limits(distinct, groups, split.max_images, seed)
    side = accepted_entries["file"].map(split_of)
    fraction = accepted_entries["vessel_fraction"].where(side != UNLABELLED)
    rows = accepted_entries.assign(group=of_group, split=side, vessel_fraction=fraction)
    report = {
        "left_out_by_splits_file": len(files) - len(split_of),
        "left_out_as_look_alikes": len(split_of) - len(distinct),
        "left_out_by_limit": len(distinct) - len(used),
        "warnings": warnings + more,
    }
    return (
        rows.loc[rows["file"].isin(used), SAMPLE_COLUMNS],
        report,
        pd.DataFrame(duplicates.as_rows(look_alikes, by_group), columns=duplicates.COLUMNS),
        assignment.stored(assigned, earlier, split.fractions, seed, pseudonymise),
        {
            kind: {name: own for name, own in table.items() if name not in file_names.get(kind, {})}
            for kind, table in names.table.items()
        },
    )


def decode_images(
    accepted_entries: Any,
    samples: Any,
    file_names: dict[str, Any],
    raw_images: Files,
    ingest: IngestParameters,
) -> Loaders:
    """Bring every image into one form.

    Returns:
        Sample id → maker of uint8 (H, W) or (H, W, 3), see `vesselrl.annotations.pictures.decode`.
    """
    from vesselrl.annotations.checking import version_of_ingest
    from vesselrl.annotations.writing import ImageMaker, Pictures

    rows = _rows_of(samples, accepted_entries)
    original = file_names.get("files", {})

    def makers(wanted: Collection[str]) -> Iterator[tuple[str, Any]]:
        for sample in wanted:
            file, frame = rows[sample].file, rows[sample].frame
            yield (
                sample,
                ImageMaker(
                    sample, raw_images, original.get(file, file), frame or None, ingest.max_pixels
                ),
            )

    made_from = {
        sample: f"{version_of_ingest()} {row.sha256} {row.frame}" for sample, row in rows.items()
    }
    return Pictures(made_from, makers, "Writing images", ingest.workers)


def draw_masks(
    accepted_entries: Any,
    samples: Any,
    raw_annotations: Opener,
    annotations: AnnotationsParameters,
    ingest: IngestParameters,
) -> Loaders:
    """Draw the mask of every sample, those without label apart.

    Returns:
        Sample id → maker of a mask, bool (H, W).
    """
    from vesselrl.annotations.packing import pack
    from vesselrl.annotations.writing import MaskMaker, Pictures

    rows = _rows_of(samples[samples["split"] != UNLABELLED], accepted_entries)

    def makers(wanted: Collection[str]) -> Iterator[tuple[str, Any]]:
        if not wanted:
            return
        source = raw_annotations(annotations.format, annotations.max_json_mb)
        of_entry = {rows[sample].entry: sample for sample in wanted}
        for number, raw in enumerate(source):
            if sample := of_entry.get(number):
                row = rows[sample]
                yield (
                    sample,
                    MaskMaker(
                        sample, pack(raw), source.masks, row.width, row.height, ingest.max_pixels
                    ),
                )

    made_from = {sample: row.key for sample, row in rows.items()}
    return Pictures(made_from, makers, "Writing masks", ingest.workers)


def _rows_of(samples: Any, accepted_entries: Any) -> dict[str, Any]:
    """Sample id → its row in the table of accepted entries."""
    used = accepted_entries[accepted_entries["id"].isin(samples["id"])]
    return {row.id: row for row in used.itertuples()}


def write_ingest_report(
    accepted_entries: Any,
    quarantine: Any,
    samples: Any,
    split_report: dict[str, Any],
    file_names: dict[str, Any],
    raw_images: Files,
) -> dict[str, Any]:
    """Count what came in; see `vesselrl.annotations.accounts.account_for`. Warnings are logged."""
    from vesselrl.annotations.accounts import account_for

    original = file_names.get("files", {})
    report = account_for(accepted_entries, quarantine, samples, split_report, raw_images, original)
    for warning in report["warnings"]:
        logger.warning(warning)
    return report


def draw_ingest_overview(images: Loaders, masks: Loaders, samples: Any, quarantine: Any) -> Any:
    """Draw what was read: images with their masks' contours, sizes of splits, vessel fractions.

    Returns:
        A Matplotlib figure.
    """
    from vesselrl.annotations.overview import draw_overview

    return draw_overview(images, masks, samples, quarantine)
