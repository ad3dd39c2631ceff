"""Images that look alike, so that they do not end on two sides of the splits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vesselrl.annotations.perceptual_hash import Indices, near_pairs
from vesselrl.errors import VesselrlError
from vesselrl.samples import HELD_OUT, UNLABELLED

COLUMNS = ["distance", "file_1", "file_2", "group_1", "group_2", "split_1", "split_2"]
"""Of the rows that `as_rows` makes."""

_MANY = 20  # pairs of one picture, from which on not all are told: of a crowd they are its square


@dataclass(frozen=True)
class LookAlike:
    """The two most similar images of two groups.

    Attributes:
        groups: names of the groups, in order.
        files: an image of each.
        distance: how many of 256 bits differ.
    """

    groups: tuple[str, str]
    files: tuple[str, str]
    distance: int


def find_look_alikes(
    hashes: Mapping[str, str], groups: Mapping[str, str], bits: int
) -> list[LookAlike]:
    """Find the pairs of groups of which an image of one looks like an image of the other.

    The search is exact and does not compare all pairs. The 256 bits are cut into 16 bands; two
    hashes that differ in fewer than 32 bits differ in at most one bit in some band, so it is enough
    to compare those that do, found by sorting.

    Args:
        hashes: file → `perceptual_hash`; empty ones are like no other.
        groups: file → group.
        bits: the largest number of differing bits, 0 to `MOST_BITS`.

    Returns:
        One entry for each pair of groups, with its most similar images; the most similar pair
        first. Of more than 20 groups that hold the same picture, each further one is paired with
        the first of them only; of pictures that look like more than 20 others, the pairs with the
        nearest 20 are told, and as many more as tie together what all pairs would.
    """
    file_of: dict[tuple[str, str], str] = {}
    for file in sorted(hashes):
        if hashes[file]:
            file_of.setdefault((hashes[file], groups[file]), file)
    owners: dict[str, list[str]] = {}
    for text, group in sorted(file_of):
        owners.setdefault(text, []).append(group)
    texts = list(owners)
    nearest: dict[tuple[str, str], tuple[int, str, str]] = {}

    def note(one: tuple[str, str], other: tuple[str, str], distance: int) -> None:
        (group, file), (group_2, file_2) = sorted(
            [(one[1], file_of[one]), (other[1], file_of[other])]
        )
        if group != group_2:
            found = (distance, file, file_2)
            nearest[group, group_2] = min(nearest.get((group, group_2), found), found)

    for text, names in owners.items():
        for number, group in enumerate(names):
            for other in names[: min(number, _MANY) if number < _MANY else 1]:
                note((text, other), (text, group), 0)
    group_code = {group: code for code, group in enumerate(sorted(set(groups.values())))}
    labels = np.array([group_code[o[0]] if len(o) == 1 else -1 for o in owners.values()], np.int64)
    for first, second, distance in zip(*_thinned(*near_pairs(texts, bits, labels)), strict=True):
        one, two = texts[first], texts[second]
        for group in owners[one][:_MANY]:
            for other in owners[two][:_MANY]:
                note((one, group), (two, other), int(distance))
    found = [LookAlike(pair, (a, b), distance) for pair, (distance, a, b) in nearest.items()]
    return sorted(found, key=lambda one: (one.distance, one.files))


def _thinned(first: Indices, second: Indices, distances: Indices) -> tuple[Indices, ...]:
    """Of pairs as `near_pairs` returns them those with the nearest of each hash, and a forest.

    The forest, of least distance, keeps together what all pairs tie together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    if not len(first):
        return first, second, distances
    ends, pair = np.concatenate([first, second]), np.tile(np.arange(len(first)), 2)
    order = np.lexsort((distances[pair], ends))
    place = np.arange(len(order)) - np.searchsorted(ends[order], ends[order])
    size = int(second.max()) + 1
    tree = minimum_spanning_tree(coo_array((distances, (first, second)), shape=(size, size)))
    rows, columns = tree.nonzero()
    kept = np.zeros(len(first), bool)
    kept[pair[order[place < _MANY]]] = True
    kept[np.searchsorted(first * size + second, rows.astype(np.int64) * size + columns)] = True
    return first[kept], second[kept], distances[kept]


def linked_groups(look_alikes: Collection[LookAlike]) -> list[set[str]]:
    """The sets of groups that look-alikes tie together, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = sorted({group for one in look_alikes for group in one.groups})
    number = {name: index for index, name in enumerate(names)}
    ends = [[number[one.groups[side]] for one in look_alikes] for side in (0, 1)]
    shape = (len(names), len(names))
    _, component = connected_components(coo_array(([1] * len(look_alikes), ends), shape=shape))
    sets: dict[int, set[str]] = {}
    for name, index in zip(names, component.tolist(), strict=True):
        sets.setdefault(index, set()).add(name)
    return list(sets.values())


def leaks(look_alikes: Collection[LookAlike], split_of: Mapping[str, str]) -> list[LookAlike]:
    """The look-alikes of which one is in validation or test and the other in another split.

    Args:
        look_alikes: as `find_look_alikes` returns them.
        split_of: group → split; groups that are not used may be missing.
    """
    sides = [{split_of[group] for group in one.groups if group in split_of} for one in look_alikes]
    return [
        one
        for one, splits in zip(look_alikes, sides, strict=True)
        if len(splits) > 1 and not splits.isdisjoint(HELD_OUT)
    ]


def tell_leaks(
    leaking: Collection[LookAlike], split_of: Mapping[str, str], on_leak: str, by_file: bool
) -> list[str]:
    """Say which groups look alike across splits.

    Args:
        leaking: as `leaks` returns them.
        split_of: group → split.
        on_leak: ``warn``, ``move`` or ``stop``.
        by_file: whether ``splits.json`` places the images, so that none may be moved.

    Returns:
        At most one warning.

    Raises:
        VesselrlError: there are some, and ``on_leak`` is ``stop``.
    """
    if not leaking:
        return []
    first = "; ".join(
        f"{one.files[0]} (group {one.groups[0]}, {split_of[one.groups[0]]}) and {one.files[1]} "
        f"(group {one.groups[1]}, {split_of[one.groups[1]]}), {one.distance} of 256 bits apart"
        for one in list(leaking)[:3]
    )
    count = len(leaking)
    pairs = "1 pair of groups has" if count == 1 else f"{count:,} pairs of groups have"
    found = f"{pairs} images that look alike in different splits: {first}" + "; …" * (count > 3)
    advice = (
        "Put them in one split in splits.json"
        if by_file
        else "If they are of one patient, give them one group in groups.json, or set split.on_leak "
        "to move"
    )
    if on_leak == "stop":
        raise VesselrlError(
            f"{found}. {advice}; if they are not, lower split.near_duplicate_bits or set "
            "split.on_leak to warn."
        )
    if by_file and any(split_of[group] == UNLABELLED for one in leaking for group in one.groups):
        advice += ". Those without labels are left out if split.on_leak is move"
    return [f"{found}. {advice}."]


def tell_together(
    together: Collection[Collection[str]], earlier: Mapping[str, str], split_of: Mapping[str, str]
) -> list[str]:
    """Say which groups were put in one split because they look alike, and which moved for it.

    Args:
        together: as `linked_groups` returns them.
        earlier: group → split of an earlier run.
        split_of: group → split now.

    Returns:
        At most one warning.
    """
    if not together:
        return []
    sets = [" + ".join(sorted(one)[:4]) + " + …" * (len(one) > 4) for one in together]
    moved = [
        f"{group} ({earlier[group]} → {split_of[group]})"
        for group in sorted(group for one in together for group in one)
        if group in split_of and earlier.get(group, split_of[group]) != split_of[group]
    ]
    first, more = "; ".join(sets[:3]), "; …" * (len(sets) > 3)
    warning = f"Groups that look alike are kept in one split (split.on_leak is move): {first}{more}"
    if moved:
        warning += f". Moved for it: {'; '.join(moved[:5])}" + "; …" * (len(moved) > 5)
    return [warning + "."]


def as_rows(
    look_alikes: Collection[LookAlike], split_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The look-alikes as rows of a table.

    Returns:
        A row each, with `COLUMNS`; the split of a group that is not used is empty.
    """
    return [
        dict(
            zip(
                COLUMNS,
                [one.distance, *one.files, *one.groups, *(split_of.get(g, "") for g in one.groups)],
                strict=True,
            )
        )
        for one in look_alikes
    ]
