"""Branching coronary trees in the plane of the image.

Lengths are in image sides, so that one tree can be drawn at any size; x points right, y down.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float64]

MURRAY_EXPONENT = 2.7
PIXEL = 1 / 256  # calibres are stated in pixels of an image of 256 × 256
STEP = PIXEL / 2  # between the points of a centre line
_FINEST = 0.5 * PIXEL  # thinner vessels do not show


@dataclass(frozen=True)
class Vessel:
    """One vessel from where it leaves its parent to its end.

    Attributes:
        points: centre line, float64 (N, 2), columns x and y.
        radii: float64 (N,). They step down where a branch leaves.
        distance: float64 (N,), along the tree from its ostium.
        parent: index of the parent in the tree; -1 for the first vessel.
        fork: index of the parent's first point behind the bifurcation.
    """

    points: Array
    radii: Array
    distance: Array
    parent: int = -1
    fork: int = 0


@dataclass(frozen=True)
class _Branch:
    """A branch to come: where along its parent it leaves, and the share of the flow it takes."""

    at: float
    share: float
    angle: float
    bend: float = 0.0
    length: float | None = None


@dataclass(frozen=True)
class _Course:
    """How a vessel will run; angles in radians, ``bend`` in radians from start to end."""

    heading: float
    bend: float
    length: float
    radius: float
    wobble: float
    branches: list[_Branch]
    start: Array = field(default_factory=lambda: np.zeros(2))
    distance: float = 0.0
    parent: int = -1
    fork: int = 0
    generation: int = 0


def grow_tree(rng: np.random.Generator, coils: float = 1.0) -> list[Vessel]:
    """Grow a right or left coronary tree, parents before their branches.

    Where a branch leaves, r₀^γ = r₁^γ + r₂^γ. The exponent γ = 2.7 lies between the 3 of Murray
    ("The physiological principle of minimum work", PNAS 12, 1926, doi:10.1073/pnas.12.3.207) and
    the 7/3 of Huo and Kassab ("Intraspecific scaling laws of vascular trees", J. R. Soc. Interface
    9, 2012, doi:10.1098/rsif.2011.0270).

    Args:
        rng: draws it.
        coils: how much more than usual the vessels wind.
    """
    course = _right_coronary(rng) if rng.random() < 0.45 else _left_coronary(rng)
    vessels: list[Vessel] = []
    waiting = [course]
    while waiting:
        course = waiting.pop(0)
        vessel = _run(course, coils, rng)
        waiting += _courses_of_branches(course, vessel, len(vessels), rng)
        vessels.append(vessel)
    return _viewed(vessels, rng)


def _right_coronary(rng: np.random.Generator) -> _Course:
    """One long arc that opens to the right, with a few thin branches and a fork at its end."""
    end = _Branch(rng.uniform(0.68, 0.82), rng.uniform(0.3, 0.45), rng.uniform(0.4, 0.8), 0.3)
    return _Course(
        heading=np.pi + rng.uniform(-0.2, 0.5),
        bend=-np.pi * rng.uniform(0.9, 1.25),
        length=rng.uniform(1.15, 1.5),
        radius=rng.uniform(2.9, 6.0) * PIXEL,
        wobble=rng.uniform(0.18, 0.4),
        branches=[
            *_side_branches(rng, int(rng.integers(4, 8)), most=0.16, last=0.66),
            end,
            *_side_branches(rng, 2, most=0.3, first=0.84),
        ],
    )


def _left_coronary(rng: np.random.Generator) -> _Course:
    """A short stem that divides into two vessels of like calibre, each with several branches."""
    circumflex = _Branch(
        at=rng.uniform(0.1, 0.2),
        share=rng.uniform(0.38, 0.5),
        angle=rng.uniform(0.6, 1.2),
        bend=rng.uniform(-0.7, 0.5),
        length=rng.uniform(0.6, 0.95),
    )
    return _Course(
        heading=rng.uniform(-0.35, 0.35),
        bend=rng.uniform(0.5, 1.4),
        length=rng.uniform(0.95, 1.25),
        radius=rng.uniform(2.9, 5.6) * PIXEL,
        wobble=rng.uniform(0.12, 0.3),
        branches=[circumflex, *_side_branches(rng, int(rng.integers(5, 10)), most=0.28)],
    )


def _side_branches(
    rng: np.random.Generator, count: int, most: float, first: float = 0.22, last: float = 0.97
) -> list[_Branch]:
    """Branches to either side, one after another, of 3 % of the flow to ``most`` of it."""
    return [
        _Branch(
            at=first + (last - first) * (index + rng.uniform(0.1, 0.9)) / count,
            share=rng.uniform(0.03, most),
            angle=rng.choice([-1, 1]) * rng.uniform(0.4, 1.05),
            bend=rng.uniform(-0.8, 0.8),
        )
        for index in range(count)
    ]


def _run(course: _Course, coils: float, rng: np.random.Generator) -> Vessel:
    """Walk along a course; the radius tapers for the branches that are too fine to show."""
    count = max(int(course.length / STEP), 8)
    along = np.linspace(0.0, 1.0, count)
    swing = course.wobble * (_smooth_walk(rng, count, 24.0) + 0.5 * _smooth_walk(rng, count, 9.0))
    coiled = coils * min(rng.exponential(0.2 if course.generation == 0 else 0.45), 0.9)
    swing += coiled * along * _smooth_walk(rng, count, 11.0)
    heading = course.heading + course.bend * along + swing - swing[0]
    steps = STEP * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    plaques = rng.uniform(0.02, 0.09) * _smooth_walk(rng, count, 12.0)
    radii = course.radius * np.exp(plaques - plaques[0] - rng.uniform(0.1, 0.45) * along)
    for branch in course.branches:
        fork = int(branch.at * count)
        radii[fork:] *= radii[fork - 1] / radii[fork] * (1 - branch.share) ** (1 / MURRAY_EXPONENT)
    return Vessel(
        points=course.start + np.cumsum(steps, axis=0) - steps[0],
        radii=radii,
        distance=course.distance + STEP * np.arange(count, dtype=np.float64),
        parent=course.parent,
        fork=course.fork,
    )


def _smooth_walk(rng: np.random.Generator, count: int, steps: float) -> Array:
    """Noise of unit variance that varies over ``steps`` points."""
    noise = ndimage.gaussian_filter1d(rng.standard_normal(count), steps, mode="wrap")
    unit: Array = noise * np.sqrt(2 * np.sqrt(np.pi) * steps)
    return unit


def _courses_of_branches(
    course: _Course, vessel: Vessel, index: int, rng: np.random.Generator
) -> Iterator[_Course]:
    for branch in course.branches:
        fork = int(branch.at * len(vessel.points))
        radius = vessel.radii[fork - 1] * branch.share ** (1 / MURRAY_EXPONENT)
        if radius < _FINEST:
            continue
        ahead = vessel.points[fork] - vessel.points[fork - 1]
        generation = course.generation + 1
        yield _Course(
            start=vessel.points[fork],
            heading=np.arctan2(ahead[1], ahead[0]) + branch.angle,
            bend=branch.bend,
            length=branch.length or radius * rng.uniform(35, 80),
            radius=radius,
            wobble=course.wobble * rng.uniform(1.0, 1.9),
            branches=_side_branches(rng, int(rng.integers(0, 5 - generation)), most=0.45),
            distance=float(vessel.distance[fork]),
            parent=index,
            fork=fork,
            generation=generation,
        )


def _viewed(vessels: list[Vessel], rng: np.random.Generator) -> list[Vessel]:
    """The tree from a random side, about in the middle: turned, mirrored, nearer or farther."""
    angle, zoom = rng.uniform(-0.35, 0.35), rng.uniform(0.85, 1.1)
    mirror = -1.0 if rng.random() < 0.3 else 1.0
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    everywhere = np.concatenate([vessel.points for vessel in vessels])
    middle = (everywhere.min(axis=0) + everywhere.max(axis=0)) / 2 + rng.uniform(-0.08, 0.08, 2)

    def turned(points: Array) -> Array:
        x, y = mirror * (points[:, 0] - middle[0]), points[:, 1] - middle[1]
        return np.stack([0.5 + cos * x - sin * y, 0.5 + sin * x + cos * y], axis=1)

    return [
        replace(
            vessel,
            points=turned(vessel.points),
            radii=zoom * vessel.radii,
            distance=zoom * vessel.distance,
        )
        for vessel in vessels
    ]
