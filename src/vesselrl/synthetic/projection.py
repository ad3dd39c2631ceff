"""From vessels to pixels: the length of each ray inside them, and the mask of their silhouette."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vesselrl.synthetic.tree import Array, Vessel

_POINTS_AT_ONCE = 8  # neighbours on a centre line, so that the box around them stays small


def silhouette(
    vessels: Sequence[Vessel], shown: Sequence[npt.NDArray[np.bool_]], size: int
) -> npt.NDArray[np.bool_]:
    """Pixels whose centre lies in a vessel.

    Args:
        vessels: of one tree.
        shown: which points of each vessel count, bool (N,).
        size: side of the image in pixels.

    Returns:
        bool (size, size).
    """
    mask = np.zeros((size, size), dtype=bool)
    for vessel, points in zip(vessels, shown, strict=True):
        mask |= _chords(vessel, points.astype(np.float64), size) > 0
    return mask


def contrast_thickness(
    vessels: Sequence[Vessel], concentrations: Sequence[Array], size: int
) -> Array:
    """How much contrast agent a ray crosses.

    A ray at distance d from the centre line of a tube of radius r runs 2·√(r² - d²) inside it.
    Vessels that cross add up; where a branch leaves its parent, both are one lumen and the longer
    chord counts.

    Args:
        vessels: of one tree, parents before their branches.
        concentrations: of the agent at each point of each vessel, float64 (N,), 1 is undiluted.
        size: side of the image in pixels.

    Returns:
        float64 (size, size), in image sides of undiluted agent.
    """
    chords: list[Array] = []
    total = np.zeros((size, size))
    for vessel, concentration in zip(vessels, concentrations, strict=True):
        chord = _chords(vessel, concentration, size)
        total += chord if vessel.parent < 0 else np.maximum(chord - chords[vessel.parent], 0.0)
        chords.append(chord)
    return total


def _chords(vessel: Vessel, weights: Array, size: int) -> Array:
    """Weighted chord of each pixel's ray in one vessel; where it bends over itself, the longest."""
    chords = np.zeros((size, size))
    for first in range(0, len(vessel.points), _POINTS_AT_ONCE):
        part = slice(first, first + _POINTS_AT_ONCE)
        points, radii = vessel.points[part], vessel.radii[part]
        low = np.floor((points.min(axis=0) - radii.max()) * size).astype(int).clip(0, size)
        high = np.ceil((points.max(axis=0) + radii.max()) * size).astype(int).clip(0, size)
        if (low >= high).any() or not weights[part].any():
            continue
        x = (np.arange(low[0], high[0]) + 0.5) / size
        y = (np.arange(low[1], high[1]) + 0.5) / size
        across = (x - points[:, :1]) ** 2
        down = (y - points[:, 1:]) ** 2
        inside = radii[:, None, None] ** 2 - across[:, None, :] - down[:, :, None]
        chord = 2 * np.sqrt(np.maximum(inside, 0.0)) * weights[part, None, None]
        box = chords[low[1] : high[1], low[0] : high[0]]
        np.maximum(box, chord.max(axis=0), out=box)
    return chords
