"""Run-length encoded masks, as COCO writes them.

``{"size": [height, width], "counts": …}``: the lengths of alternating runs of background and
object, background first, down the columns, one column after the other. The counts are a list of
integers (*uncompressed*) or text (*compressed*): each count, from the fourth on as its difference
from the count two before, in groups of five bits, the lowest first, each group a character from
``0`` on, with a sixth bit where more groups follow; the fifth bit of the last is the sign.
Source: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

_LARGEST = 2**31
_MOST_GROUPS = 8  # of five bits, for one count


def read_rle(raw: Any) -> dict[str, Any]:
    """Check a run-length encoded mask and bring it into the compressed form.

    Args:
        raw: anything that JSON can hold.

    Returns:
        ``size``, a list of height and width, and ``counts``, a text.

    Raises:
        ValueError: it is not one; the message is the reason.
    """
    if not isinstance(raw, dict) or "counts" not in raw:
        raise ValueError("a run-length encoded mask without 'counts'")
    size = raw.get("size")
    if not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(length) is int and 0 < length < _LARGEST for length in size)
    ):
        raise ValueError("a run-length encoded mask without a 'size' of [height, width]")
    counts = raw["counts"]
    if isinstance(counts, str):
        values = _decompressed(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        if any(not 0 <= count < _LARGEST for count in counts):
            raise ValueError("a run length is negative or huge")
        values = np.array(counts, dtype=np.int64)
    else:
        raise ValueError("run lengths are neither a text nor a list of whole numbers")
    if values.sum() != size[0] * size[1]:
        raise ValueError(
            f"run lengths sum to {values.sum()}; {size[0]} rows × {size[1]} columns have "
            f"{size[0] * size[1]} pixels"
        )
    return {
        "size": size,
        "counts": counts if isinstance(counts, str) else compressed(values.tolist()),
    }


def decode_rle(rle: dict[str, Any]) -> Mask:
    """Draw a mask that `read_rle` has checked.

    Returns:
        bool (height, width).
    """
    counts = _decompressed(rle["counts"])
    height, width = rle["size"]
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(runs.reshape(width, height).T)


def compressed(counts: Sequence[int]) -> str:
    """Write run lengths as text.

    Examples:
        >>> compressed([6, 1, 40, 4, 5, 4, 5, 4, 21])
        '61X13mN000`0'
    """
    characters = []
    for position, count in enumerate(counts):
        rest = count - (counts[position - 2] if position > 2 else 0)
        more = True
        while more:
            group, rest = rest & 31, rest >> 5
            more = rest != (-1 if group & 16 else 0)
            characters.append(chr(48 + group + 32 * more))
    return "".join(characters)


def _decompressed(text: str) -> Counts:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    groups = codes.astype(np.int64) - 48
    if not len(groups):
        return groups
    if groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise ValueError(
            "compressed run lengths are cut or hold a character that is none of theirs"
        )
    is_last = groups & 32 == 0
    starts = np.concatenate([[0], np.flatnonzero(is_last)[:-1] + 1])
    place = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    if place.max() >= _MOST_GROUPS:
        raise ValueError("a run length is huge")
    counts = np.add.reduceat((groups & 31) << 5 * place, starts)
    is_negative = groups[is_last] & 16 != 0
    counts -= np.where(is_negative, 1 << 5 * (place[is_last] + 1), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    if counts.min() < 0 or counts.max() >= _LARGEST:
        raise ValueError("a run length is negative or huge")
    return counts


def encode_rle(mask: Mask) -> dict[str, Any]:
    """The compressed form of a mask, bool (H, W); `decode_rle` gives it back.

    Examples:
        >>> encode_rle(np.array([[0, 1, 1], [0, 0, 1]], bool))
        {'size': [2, 3], 'counts': '2111'}
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    starts = [0] if flat.size and flat[0] else []  # background comes first, even if there is none
    return {"size": list(mask.shape), "counts": compressed(starts + counts)}
