"""Corruptions of a true mask that look like a segmenter's real failures.

Each takes a bool mask (H, W) and a numpy Generator and returns a bool mask of the same shape.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import disk, skeletonize

Mask = npt.NDArray[np.bool_]
Corruption = Callable[[Mask, np.random.Generator], Mask]


def _smooth_field(shape: tuple[int, int], rng: np.random.Generator, scale: float) -> Mask:
    """A random field with blobs about `scale` pixels wide, uniform in [0, 1] by rank."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    ranks: Mask = field.ravel().argsort().argsort().reshape(shape) / field.size
    return ranks


def missing_parts(mask: Mask, rng: np.random.Generator) -> Mask:
    """Whole regions of the tree are not found."""
    return mask & (_smooth_field(mask.shape, rng, rng.uniform(8, 30)) > rng.uniform(0.1, 0.8))


def missing_thin_branches(mask: Mask, rng: np.random.Generator) -> Mask:
    """Branches thinner than a random calibre are not found."""
    return ndimage.binary_opening(mask, disk(int(rng.integers(1, 3))))


def broken_vessels(mask: Mask, rng: np.random.Generator) -> Mask:
    """Vessels are interrupted at random places."""
    broken = mask.copy()
    rows, columns = np.nonzero(skeletonize(mask))
    for index in rng.permutation(len(rows))[: int(rng.integers(3, 25))]:
        radius = int(rng.integers(2, 7))
        row, column = rows[index], columns[index]
        broken[max(0, row - radius) : row + radius, max(0, column - radius) : column + radius] = 0
    return broken


def false_branches(mask: Mask, rng: np.random.Generator) -> Mask:
    """Curved streaks that are no vessels: rib and catheter edges."""
    height, width = mask.shape
    streaks = np.zeros_like(mask)
    for _ in range(int(rng.integers(1, 6))):
        length = int(rng.integers(min(height, width) // 6 + 1, max(height, width) + 1))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, rng.uniform(0, 0.05), length))
        rows = (rng.uniform(0, height) + np.cumsum(np.sin(heading))).astype(int)
        columns = (rng.uniform(0, width) + np.cumsum(np.cos(heading))).astype(int)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        streaks[rows[inside], columns[inside]] = True
    return mask | ndimage.binary_dilation(streaks, disk(int(rng.integers(1, 4))))


def leakage(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask spills over into blobs of background."""
    blobs = _smooth_field(mask.shape, rng, rng.uniform(4, 15)) > rng.uniform(0.85, 0.99)
    return mask | blobs


def too_thick(mask: Mask, rng: np.random.Generator) -> Mask:
    """Over-segmentation."""
    return ndimage.binary_dilation(mask, disk(int(rng.integers(1, 4))))


def too_thin(mask: Mask, rng: np.random.Generator) -> Mask:
    """Under-segmentation."""
    return ndimage.binary_erosion(mask, disk(int(rng.integers(1, 3))), border_value=1)


def shifted(mask: Mask, rng: np.random.Generator) -> Mask:
    """The whole tree lies a few pixels off."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(2, 8)
    offset = np.round(distance * np.array([np.sin(angle), np.cos(angle)]))
    moved: Mask = ndimage.shift(mask, offset, order=0)
    return moved


def unchanged(mask: Mask, rng: np.random.Generator) -> Mask:
    """A perfect answer."""
    return mask


CORRUPTIONS: tuple[Corruption, ...] = (
    missing_parts,
    missing_thin_branches,
    broken_vessels,
    false_branches,
    leakage,
    too_thick,
    too_thin,
    shifted,
    unchanged,
)


def corrupt(mask: Mask, rng: np.random.Generator) -> tuple[str, Mask]:
    """Apply one to three corruptions in turn; returns their names and the corrupted mask."""
    names = []
    for index in rng.choice(len(CORRUPTIONS), size=int(rng.integers(1, 4)), replace=False):
        corruption = CORRUPTIONS[index]
        names.append(corruption.__name__)
        mask = corruption(mask, rng)
    return "+".join(names), mask
