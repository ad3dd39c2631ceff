"""Synthetic X-ray coronary angiograms with exact masks of their vessels."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from vesselrl.synthetic.background import draw_chest, draw_collimator, draw_subtracted
from vesselrl.synthetic.projection import contrast_thickness, silhouette
from vesselrl.synthetic.tree import PIXEL, STEP, Array, Vessel, grow_tree
from vesselrl.synthetic.variation import TYPICAL, Variation

_WHITE = 240  # grey level at which the detector saturates


@dataclass(frozen=True)
class Angiogram:
    """One frame.

    Attributes:
        image: uint8 (H, W), vessels dark.
        mask: bool (H, W), True in the labelled vessels.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Patient:
    """All that the frames of a patient have in common."""

    tree: list[Vessel]
    catheter: Vessel
    finest_labelled: float  # radius, in image sides
    absorption: float  # of undiluted contrast agent, per image side
    tissue: Array  # optical depth without the tree and the catheter
    beam: Array  # share that the collimator lets pass
    blur: float  # standard deviation, in image sides
    photons: float  # per pixel where nothing absorbs
    sharpening: float  # of the display
    brightness: float  # grey level of that many photons
    darkness: float  # grey level of none
    grain: float  # of the detector, standard deviation in pixels
    profile: float  # exponent of the thickness of contrast agent
    drawn: float  # labelled share of a radius


def draw_patient(
    seed: int, frames: int, size: int, variation: Variation = TYPICAL
) -> list[Angiogram]:
    """Draw frames of one patient's angiogram.

    The tree, the chest and the collimator are the patient's; heartbeat and breath, the filling with
    contrast agent and the noise are the frame's. X-rays are absorbed by Beer and Lambert's law,
    I = I₀·exp(-tissue - μ·thickness). Labelled are vessels above a calibre that differs between
    patients, as annotators differ; a catheter and a faint second tree are shown, not labelled.

    Args:
        seed: of the patient. A frame depends on the seed, its index and the size alone, to the bit.
        frames: how many to draw.
        size: side of the images in pixels.
        variation: how far patients differ.
    """
    patient = _meet(np.random.default_rng(seed), size, variation)
    return [
        _expose(patient, np.random.default_rng([seed, frame + 1]), size) for frame in range(frames)
    ]


def _meet(rng: np.random.Generator, size: int, variation: Variation) -> _Patient:
    subtracted = rng.random() < 0.3
    tissue = draw_subtracted(rng, size) if subtracted else draw_chest(rng, size)
    collimated = rng.random() < (0.3 if subtracted else 0.8)
    beam = draw_collimator(rng, size) if collimated else np.ones((size, size))
    finest = rng.uniform(*variation.finest) * PIXEL
    coils = _between(rng, variation.coils)
    tree = grow_tree(rng, coils)
    while not variation.area[0] < _labelled_area(tree, finest, beam) < variation.area[1]:
        tree = grow_tree(rng, coils)
    absorption = rng.uniform(*variation.contrast) / (2 * tree[0].radii[0])
    tissue = tissue * _between(rng, variation.tissue)
    for _ in range(round(_between(rng, variation.faint_trees))):
        second = [replace(vessel, radii=0.6 * vessel.radii) for vessel in grow_tree(rng, coils)]
        faint = [np.full(len(vessel.radii), rng.uniform(*variation.faint)) for vessel in second]
        tissue = tissue + absorption * contrast_thickness(second, faint, size)
    return _Patient(
        tree=tree,
        catheter=_catheter(rng, tree[0]),
        finest_labelled=finest,
        absorption=absorption,
        tissue=tissue,
        beam=beam,
        blur=rng.uniform(*variation.blur) * PIXEL,
        photons=rng.uniform(*variation.photons),
        sharpening=rng.uniform(0.2, 0.6),
        brightness=rng.uniform(*variation.brightness),
        darkness=rng.uniform(5, 16),
        grain=_between(rng, variation.grain),
        profile=_between(rng, variation.profile),
        drawn=_between(rng, variation.drawn),
    )


def _between(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """A number from a range; where there is only one, nothing is drawn."""
    return ends[0] if ends[0] == ends[1] else rng.uniform(*ends)


def _labelled_area(tree: list[Vessel], finest: float, beam: Array) -> float:
    """About the share of the image that labelled vessels cover: overlap counts twice."""
    area = 0.0
    for vessel in tree:
        column, row = (vessel.points.T * len(beam)).astype(int)
        seen: npt.NDArray[np.bool_] = np.all((vessel.points > 0) & (vessel.points < 1), axis=1)
        seen[seen] &= beam[row[seen], column[seen]] > 0.5
        area += 2 * STEP * float(vessel.radii[seen & (vessel.radii > finest)].sum())
    return area


def _catheter(rng: np.random.Generator, first: Vessel) -> Vessel:
    """A tube of one calibre that ends in the ostium and comes from above in a wide curve."""
    count = int(0.8 / STEP)
    back = first.points[0] - first.points[6]
    start = np.arctan2(back[1], back[0])
    up = -np.pi / 2 + rng.uniform(-0.5, 0.5)
    turn = (up - start + np.pi) % (2 * np.pi) - np.pi
    bent = np.minimum(np.arange(count) * STEP / rng.uniform(0.1, 0.3), 1.0)
    heading = start + turn * bent
    steps = STEP * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return Vessel(
        points=first.points[0] + np.cumsum(steps, axis=0),
        radii=np.full(count, rng.uniform(2.0, 2.8) * PIXEL),
        distance=np.zeros(count),
        parent=0,
    )


def _expose(patient: _Patient, rng: np.random.Generator, size: int) -> Angiogram:
    *tree, catheter = _beat([*patient.tree, patient.catheter], rng)
    filling = _filling(tree, rng)
    labelled = _labelled(tree, filling, patient.finest_labelled)
    drawn = [replace(vessel, radii=patient.drawn * vessel.radii) for vessel in tree]
    mask = silhouette(drawn, labelled, size) & (patient.beam > 0.5)

    walled = np.full(len(catheter.radii), 0.8)  # less agent than the calibre would hold
    thickness = contrast_thickness([*tree, catheter], [*filling, walled], size)
    if patient.profile != 1:
        thickest = 2 * tree[0].radii[0]
        thickness = thickest * (thickness / thickest) ** patient.profile
    breath = rng.uniform(-0.02, 0.02, 2) * size
    tissue = ndimage.shift(patient.tissue, breath, order=1, mode="nearest")

    light = np.exp(-tissue - patient.absorption * thickness)
    light = ndimage.gaussian_filter(light * patient.beam, patient.blur * size)
    return Angiogram(image=_develop(light, patient, rng), mask=mask)


def _beat(tree: list[Vessel], rng: np.random.Generator) -> list[Vessel]:
    """Shift, turn, stretch and ripple the tree a little, by one smooth map of the plane."""
    shift, ripple = rng.uniform(-0.025, 0.025, 2), rng.uniform(-0.012, 0.012, 2)
    stretch = np.eye(2) + rng.uniform(-0.05, 0.05, (2, 2))
    phase = rng.uniform(0, 2 * np.pi, 2)

    def moved(points: Array) -> Array:
        x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
        waves = np.sin(2 * np.pi * np.stack([y, x], axis=1) + phase)
        linear = x[:, None] * stretch[:, 0] + y[:, None] * stretch[:, 1]
        return 0.5 + linear + shift + ripple * waves

    return [replace(vessel, points=moved(vessel.points)) for vessel in tree]


def _filling(tree: list[Vessel], rng: np.random.Generator) -> list[Array]:
    """Concentration of the contrast agent: full near the ostium, fading at the moving front."""
    strength, front = rng.uniform(0.85, 1.0), rng.uniform(1.1, 2.0)
    return [strength * 0.5 * (1 + np.tanh((front - v.distance) / 0.15)) for v in tree]


def _labelled(
    tree: list[Vessel], filling: list[Array], finest: float
) -> list[npt.NDArray[np.bool_]]:
    """Follow each vessel from its origin until it is too fine or not filled."""
    labelled: list[npt.NDArray[np.bool_]] = []
    for vessel, concentration in zip(tree, filling, strict=True):
        clear = np.logical_and.accumulate((vessel.radii > finest) & (concentration > 0.5))
        if vessel.parent >= 0:
            clear &= labelled[vessel.parent][vessel.fork - 1]
        labelled.append(clear)
    return labelled


def _develop(light: Array, patient: _Patient, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Photon noise, the detector's blur, the edge enhancement of the display, and grey levels.

    A Poisson count of mean N is drawn as its normal limit N + √N·z. Hundreds of photons look alike
    either way, and z does not depend on the last bits of N, so that machines agree.
    """
    counts = patient.photons * light
    counts = counts + np.sqrt(counts) * rng.standard_normal(light.shape)
    grey = ndimage.gaussian_filter(counts / patient.photons, patient.grain) * patient.brightness
    grey += patient.sharpening * (grey - ndimage.gaussian_filter(grey, 4.0))
    levels: Array = np.rint(grey.clip(0) + patient.darkness).clip(0, _WHITE)
    return levels.astype(np.uint8)
