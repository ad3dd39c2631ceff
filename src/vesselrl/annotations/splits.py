"""Groups (patients, studies, videos) and splits: a group is never on two sides of a split."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from vesselrl.annotations.assignment import SPLITS, hashed
from vesselrl.annotations.entries import is_printable, printable
from vesselrl.annotations.folder import normalised
from vesselrl.annotations.parameters import SplitFractions, SplitLimits
from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.errors import VesselrlError, first_few
from vesselrl.samples import HELD_OUT, UNLABELLED

# From which difference on a share is worth a warning.
_WORTH_A_WARNING = 0.1


def group_files(
    files: Collection[str], given: Any, pattern: str | None, pseudonyms: Pseudonyms
) -> tuple[dict[str, str], list[str]]:
    """Tell which group each file belongs to.

    Args:
        files: names of the accepted files, pseudonyms where names are replaced.
        given: content of ``groups.json``, file → group, or None; it goes before the pattern.
        pattern: regex whose one capture on the file name is the group, or None.
        pseudonyms: give the files' own names, which both sources speak of, and hide the groups'.

    Returns:
        File → group, and warnings. A file that neither tells a group for is a group of its own.
        Groups whose names differ in spaces or capitals alone are one: two patients in one group
        cost little, one patient in two would be on two sides of the splits.

    Raises:
        VesselrlError: ``groups.json`` is not an object of file names and groups, or names none of
            the files.
    """
    original = {file: pseudonyms.original(file) for file in files}
    if given is not None:
        told = _names_to_text(given, "groups.json", "groups", pseudonyms.group)
        source = "groups.json"
        if told and told.keys().isdisjoint(original.values()):
            raise _names_none("groups.json", files)
    else:
        matches = {
            path: re.search(pattern or "(?!)", PurePosixPath(path).name)
            for path in original.values()
        }
        told = {name: match[1] for name, match in matches.items() if match and match[1]}
        source = f"split.group_pattern ({pattern})"
    spellings = _spellings(told.values())
    known = {
        file: pseudonyms.group(spellings[told[name]])
        for file, name in original.items()
        if name in told
    }
    alone = [file for file in files if file not in known]
    warnings = []
    if several := sorted({one for name, one in spellings.items() if name != one}):
        warnings.append(
            f"{source} spells groups in several ways "
            f"({first_few([pseudonyms.group(one) for one in several])}): names that differ in "
            "spaces or capitals alone are one group."
        )
    if alone and len(alone) == len(files):
        warnings.append(
            f"No group is known by {source} for any image, so each image is its own group: images "
            "of one patient may cross splits. Add groups.json or set split.group_pattern."
        )
    elif alone:
        warnings.append(
            f"{source} tells no group for {len(alone)} of {len(files)} images "
            f"({first_few(alone)}): each of them is its own group."
        )
    return {file: known.get(file, file) for file in files}, warnings


def _spellings(groups: Collection[str]) -> dict[str, str]:
    """Name of a group → the first of the names that differ from it in spaces or capitals alone."""
    first: dict[str, str] = {}
    plain = {name: " ".join(name.split()).casefold() for name in sorted(set(groups))}
    return {name: first.setdefault(key, name) for name, key in plain.items()}


def obey_splits_file(
    given: Any, groups: Mapping[str, str], labelled: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """Take the splits as ``splits.json`` gives them.

    A file with a label goes where it is put; in ``unlabelled`` its label is not used. One without
    is ``unlabelled`` wherever it is put, or if it is not named. A group that is held out for
    validation or test and has no label there is left out: nothing can be measured on it, and
    nothing may be learned from it.

    Args:
        given: content of ``splits.json``, file → ``train``, ``val``, ``test`` or ``unlabelled``.
        groups: file → group of the accepted files.
        labelled: the files with a label.

    Returns:
        File → split, without the files with a label that ``splits.json`` does not name: they are
        left out, since nobody said on which side they may be. And warnings, which tell of what is
        left out.

    Raises:
        VesselrlError: a split has another name, a group is in two splits, or no file is named.
    """
    known = _names_to_text(given, "splits.json", "splits", str)
    allowed = (*SPLITS, UNLABELLED)
    wrong = {file: split for file, split in known.items() if split not in allowed}
    if wrong:
        file, split = next(iter(wrong.items()))
        raise VesselrlError(
            f"splits.json puts {file} in '{split}'; expected {', '.join(allowed)}: correct it."
        )
    split_of_group: dict[str, tuple[str, str]] = {}
    for file, group in groups.items():
        if known.get(file, UNLABELLED) == UNLABELLED:
            continue
        other, split = split_of_group.setdefault(group, (file, known[file]))
        if split != known[file]:
            raise VesselrlError(
                f"Group '{group}' is on two sides of splits.json: {other} is in {split}, {file} is "
                f"in {known[file]}; put all images of a group in one split, or correct the groups."
            )
    missing = [file for file in groups if file in labelled and file not in known]
    if known.keys().isdisjoint(groups):
        raise _names_none("splits.json", groups)
    warnings = []
    if missing:
        warnings.append(
            f"splits.json does not name {len(missing)} accepted images "
            f"({first_few(missing)}): they are left out; add them to use them."
        )
    split_of = {
        file: known[file] if file in labelled else UNLABELLED
        for file in groups
        if file not in labelled or file in known
    }
    held_out = {groups[file] for file in groups if known.get(file) in HELD_OUT}
    held_out -= {groups[file] for file, split in split_of.items() if split in HELD_OUT}
    useless = [file for file in split_of if groups[file] in held_out]
    if useless:
        warnings.append(
            f"splits.json puts groups in val or test of which no image there has a label "
            f"({first_few(sorted(held_out))}): their {len(useless)} images are left out; label "
            "some of them, or put them in unlabelled."
        )
        split_of = {file: side for file, side in split_of.items() if groups[file] not in held_out}
    return split_of, warnings


def strangers(
    given: Mapping[str, Any], images: Collection[str], pseudonyms: Pseudonyms
) -> list[str]:
    """Warn of names in ``groups.json`` and ``splits.json`` that no image has.

    Args:
        given: name of either file → its content, an object or None.
        images: the own names of all images.
        pseudonyms: stand for the names that are told.
    """
    warnings = []
    for file, content in given.items():
        names = dict.fromkeys(map(normalised, content or ()))
        unknown = [pseudonyms.file(name) for name in names if name not in images]
        if unknown:
            warnings.append(
                f"Names in {file} that no file in images/ has: {len(unknown)} "
                f"({first_few(unknown)}): correct or remove them."
            )
    return warnings


def side_of_groups(splits: Mapping[str, str], groups: Mapping[str, str]) -> dict[str, str]:
    """Group → the split of its images; ``unlabelled`` only if all of them are.

    Args:
        splits: file → split.
        groups: file → group.

    Examples:
        >>> splits = {"1.png": "test", "2.png": "unlabelled", "3.png": "unlabelled"}
        >>> side_of_groups(splits, {"1.png": "Ann", "2.png": "Ann", "3.png": "Bob"})
        {'Ann': 'test', 'Bob': 'unlabelled'}
    """
    sides: dict[str, str] = {}
    for file, split in splits.items():
        if split != UNLABELLED or groups[file] not in sides:
            sides[groups[file]] = split
    return sides


def without_look_alikes(
    splits: Mapping[str, str],
    groups: Mapping[str, str],
    together: Collection[Collection[str]],
) -> tuple[dict[str, str], list[str]]:
    """Leave out the unlabelled groups that look like groups of validation or test.

    Args:
        splits: file → split.
        groups: file → group.
        together: sets of groups that look alike, see `duplicates.linked_groups`.

    Returns:
        ``splits`` without their files, and at most one warning, which tells of them.
    """
    sides = side_of_groups(splits, groups)
    near = {
        group
        for linked in together
        if any(sides.get(group) in HELD_OUT for group in linked)
        for group in linked
        if sides.get(group) == UNLABELLED
    }
    gone = [file for file in splits if groups[file] in near]
    if not gone:
        return dict(splits), []
    warning = (
        f"{len(gone)} images without labels ({first_few(gone)}) look like images of val or test: "
        "they are left out (split.on_leak is move)."
    )
    return {file: split for file, split in splits.items() if groups[file] not in near}, [warning]


def share_warnings(
    splits: Mapping[str, str], groups: Mapping[str, str], fractions: SplitFractions
) -> list[str]:
    """Warn of splits that are empty or whose share of the images is far from its fraction.

    Args:
        splits: file → split of the files with a label, at least one.
        groups: file → group.
        fractions: what was asked for.
    """
    warnings = []
    count = len({groups[file] for file in splits})
    for name in SPLITS:
        wanted = getattr(fractions, name)
        share = sum(split == name for split in splits.values()) / len(splits)
        if wanted and not share:
            advice = (
                "at least 3 are needed"
                if count < len(SPLITS)
                else "to assign all anew, delete split_assignments.json"
            )
            warnings.append(
                f"The {name} split is empty: none of the {count} groups is in it; {advice}."
            )
        elif abs(share - wanted) > _WORTH_A_WARNING:
            warnings.append(
                f"The {name} split has {share:.0%} of the images, not {wanted:.0%}: {count} groups "
                "of their sizes, each kept whole and in its split, do not divide as asked."
            )
    return warnings


def within_limits(
    splits: Mapping[str, str], groups: Mapping[str, str], limits: SplitLimits, seed: int
) -> list[str]:
    """Choose the files of each split that its limit leaves.

    Groups are taken whole, in the order of a hash of seed and name, until the limit; the group that
    meets it is cut short, so that a limit of 20 means 20 images where there are as many. Unlabelled
    images of groups in validation or test, which nothing learns from, come after all others, and
    are left out where their group's validation or test images are.

    Args:
        splits: file → split.
        groups: file → group.
        limits: the most images of each split.
        seed: fixes the order of the groups.

    Returns:
        The files that stay, in the order of ``splits``.
    """
    held_out = {groups[file] for file, split in splits.items() if split in HELD_OUT}

    def order(file: str) -> tuple[bool, float, str, str]:
        group = groups[file]
        return group in held_out, hashed(group, seed), group, file

    kept: set[str] = set()
    for name in SPLITS:
        files = sorted((file for file, split in splits.items() if split == name), key=order)
        kept.update(files[: getattr(limits, name)])
    unseen = held_out - {groups[file] for file in kept}
    unlabelled = [
        file for file, split in splits.items() if split == UNLABELLED and groups[file] not in unseen
    ]
    kept.update(sorted(unlabelled, key=order)[: limits.unlabelled])
    return [file for file in splits if file in kept]


def _names_none(file: str, accepted: Collection[str]) -> VesselrlError:
    return VesselrlError(
        f"{file} names none of the {len(accepted)} accepted images (such as "
        f"{next(iter(accepted))}): expected file names as in images/."
    )


def _names_to_text(given: Any, file: str, what: str, shown: Callable[[str], str]) -> dict[str, str]:
    """The content of groups.json or splits.json, checked, with one spelling for each path.

    ``shown`` makes of a value what may be told of it.
    """
    if not isinstance(given, dict) or not all(
        isinstance(value, str | int) and value != "" for value in given.values()
    ):
        raise VesselrlError(
            f"{file} does not map file names to {what}: expected an object such as "
            f'{{"x.png": "{"train" if what == "splits" else "patient 1"}"}}; correct or remove it.'
        )
    for value in given.values():
        if not is_printable(str(value)):
            raise VesselrlError(
                f"{file} names {shown(printable(str(value)))!r}, which holds a line break or "
                "another control character: rename it there."
            )
    return {normalised(name): str(value) for name, value in given.items()}
