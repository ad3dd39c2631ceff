"""Images that look alike, found by a perceptual hash, so that they do not end on two sides.

The hash is the signs of the 16 × 16 lowest frequencies of the image's cosine transform, 256 bits
(after the DCT hash of Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions*,
2010, which has 64). Measured on the 91 angiograms of DCA1 and the 28 retinal photographs of
CHASE_DB1, bits that differ:

| | this hash, of 256 | 64-bit DCT hash | 64-bit difference hash |
|---|---|---|---|
| nearest of 4,068 pairs of different patients, DCA1 | 43 | 6 | 3 |
| nearest of 364 pairs, CHASE_DB1 | 53 | 6 | 0 |
| furthest copy: JPEG (quality 30), half or 1.7 times the size | 18 | 4 | 9 |
| furthest copy: brightness, contrast, gamma | 27 | 8 | 14 |
| furthest copy: shifted by a pixel of 300 to 512 | 25 | 4 | 5 |
| furthest copy: shifted by two pixels | 40 | 8 | 8 |

So the distance that the project's conf allows, 24, takes no two patients for one (nor does 31, the
most there is) and finds 99 % of the copies shifted by a pixel, 70 % and 89 % of those by two; 64
bits cannot tell such copies from other angiograms, which all show one dark tree on a grey disc.
Frames of one run in which the heart has moved are further apart, 29 bits and more: near-duplicates
are a hint that a group is missing, not a substitute for groups.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError
from vesselrl.samples import HELD_OUT, UNLABELLED

MOST_BITS = 31
"""The largest distance that the search is exact for."""

COLUMNS = ["distance", "file_1", "file_2", "group_1", "group_2", "split_1", "split_2"]
"""Of the rows that `as_rows` makes."""

_SIDE = 64  # the image is reduced to this before the transform
_FREQUENCIES = 16
_BANDS = 16
_CHUNK = 250_000  # candidate pairs looked at at once
_MANY = 20  # pairs of one picture, from which on not all are told: of a crowd they are its square

Words = npt.NDArray[np.uint64]
Bands = npt.NDArray[np.uint16]
Indices = npt.NDArray[np.int64]


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


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> str:
    """The hash of a decoded image, which small changes of it leave nearly as it is.

    Args:
        pixels: uint8, (H, W) or (H, W, 3).

    Returns:
        64 hexadecimal digits; empty for an image of one flat grey, which looks like nothing.
    """
    from PIL import Image
    from scipy.fft import dct

    source = Image.fromarray(pixels).convert("L")
    # Box filtering in whole steps first: the full-size image is read once.
    reduced = source.reduce((max(1, source.width // 128), max(1, source.height // 128)))
    small = np.asarray(reduced.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    if np.ptp(small) < 2:
        return ""
    columns = dct(small, axis=0, norm="ortho")[:_FREQUENCIES]
    lowest = dct(columns, axis=1, norm="ortho")[:, :_FREQUENCIES]
    signs = lowest > 0
    signs[0, 0] = False  # the mean brightness says nothing
    return np.packbits(signs).tobytes().hex()


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


def near_pairs(
    hashes: Collection[str], bits: int, labels: Indices | None = None
) -> tuple[Indices, Indices, Indices]:
    """All pairs of different hashes that differ in at most so many bits.

    Args:
        hashes: 64 hexadecimal digits each, each once.
        bits: 0 to `MOST_BITS`.
        labels: a number for each hash; pairs of equal numbers of 0 and above are left out.

    Returns:
        Indices of the one and of the other (the smaller first), and the distances.
    """
    count = len(hashes)
    raw = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(count, 32)
    words = np.ascontiguousarray(raw).view(np.uint64)
    pairs = np.empty(0, np.int64)
    for band in _bands(raw).T:
        found = [pairs]
        for one, other in _candidates(band, radius=bits // _BANDS):
            kept = _distance(words, one, other) <= bits
            if labels is not None:
                kept &= (labels[one] != labels[other]) | (labels[one] < 0)
            ends = np.sort([one[kept], other[kept]], axis=0)
            found.append(ends[0] * count + ends[1])
        # A pair may be near in several bands. (np.unique hashes, which takes far longer on these.)
        pairs = np.sort(np.concatenate(found))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    first, second = np.divmod(pairs, max(count, 1))
    return first, second, _distance(words, first, second)


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


def _distance(words: Words, first: Indices, second: Indices) -> Indices:
    total = np.zeros(len(first), np.int64)
    for word in range(words.shape[1]):
        total += np.bitwise_count(words[first, word] ^ words[second, word])
    return total


def _bands(raw: npt.NDArray[np.uint8]) -> Bands:
    """(N, 32) bytes → (N, 16) numbers of 16 bits, each of which mixes low and high frequencies.

    A band of low frequencies alone would be the same in many angiograms.
    """
    bits = np.unpackbits(raw, axis=1).reshape(len(raw), _FREQUENCIES, _FREQUENCIES)
    rows = np.arange(_FREQUENCIES)
    diagonals = [bits[:, rows, (rows + band) % _FREQUENCIES] for band in range(_BANDS)]
    packed = np.packbits(np.stack(diagonals, axis=1), axis=2)
    return np.ascontiguousarray(packed).view(np.uint16)[..., 0]


def _candidates(band: Bands, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows that differ in at most ``radius`` bits, 0 or 1, of a band, a few at once."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    place = np.arange(len(order))
    yield from _ranges(order, place, place + 1, np.searchsorted(ordered, ordered, "right"))
    for bit in range(16 if radius else 0):
        lower = place[(ordered >> bit) & 1 == 0]
        flipped = ordered[lower] | np.uint16(1 << bit)
        yield from _ranges(
            order,
            lower,
            np.searchsorted(ordered, flipped, "left"),
            np.searchsorted(ordered, flipped, "right"),
        )


def _ranges(
    order: Indices, place: Indices, start: Indices, stop: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """Row ``order[place[i]]`` paired with the rows ``order[start[i]:stop[i]]``, for all i."""
    sizes = np.maximum(stop - start, 0)
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    for begin in range(0, total, _CHUNK):
        numbers = np.arange(begin, min(begin + _CHUNK, total))
        which = np.searchsorted(ends, numbers, "right")
        within = numbers - (ends[which] - sizes[which])
        yield order[place[which]], order[start[which] + within]


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
