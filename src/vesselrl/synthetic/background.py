"""What an angiogram shows besides the coronary tree: tissue, bones, diaphragm, collimator."""

import numpy as np
from scipy import ndimage

from vesselrl.synthetic.tree import PIXEL, Array


def pixel_centres(size: int) -> tuple[Array, Array]:
    """Coordinates of the pixels: x as (1, size) and y as (size, 1), in image sides."""
    centres = (np.arange(size) + 0.5) / size
    return centres[None, :], centres[:, None]


def draw_chest(rng: np.random.Generator, size: int) -> Array:
    """Draw the absorption of a chest without contrast agent.

    Returns:
        Optical depth (natural logarithm of the attenuation) less its mean over chests, float64
        (size, size), about -0.8 to 0.8.
    """
    x, y = pixel_centres(size)
    depth = rng.uniform(0.08, 0.2) * smooth_noise(rng, size, 0.6, 0.6)
    depth = depth + 0.025 * smooth_noise(rng, size, 0.15, 0.15)
    depth = depth + _heart(rng, x, y)
    if rng.random() < 0.5:
        depth = depth + _spine(rng, x, y)
    if rng.random() < 0.6:
        depth = depth + _ribs(rng, x, y)
    if rng.random() < 0.6:
        depth = depth + _diaphragm(rng, x, y)
    return depth + _streaks(rng, size, 0.018)


def draw_subtracted(rng: np.random.Generator, size: int) -> Array:
    """Draw what little is left of a chest when the frame before the injection is subtracted.

    Returns:
        Optical depth, float64 (size, size), about -0.1 to 0.1.
    """
    return 0.04 * smooth_noise(rng, size, 0.6, 0.6) + _streaks(rng, size, 0.013)


def draw_collimator(rng: np.random.Generator, size: int) -> Array:
    """Draw the round field of the image intensifier.

    Returns:
        Share of the beam that passes, float64 (size, size), from 0 outside to 1.
    """
    x, y = pixel_centres(size)
    radius = rng.uniform(0.55, 0.74)
    centre = 0.5 + rng.uniform(-0.14, 0.14, 2)
    return _step(radius - np.hypot(x - centre[0], y - centre[1]), 0.8 * PIXEL)


def smooth_noise(
    rng: np.random.Generator, size: int, long: float, short: float, angle: float = 0.0
) -> Array:
    """Noise of about unit variance, float64 (size, size).

    It varies over ``long`` image sides along ``angle`` (radians) and over ``short`` across it.
    A cubic spline through random values on a periodic grid, so that it is the same at any size.
    """
    x, y = pixel_centres(size)
    along = (np.cos(angle) * x + np.sin(angle) * y) / long
    across = (np.cos(angle) * y - np.sin(angle) * x) / short
    grid = rng.standard_normal((64, 64))
    noise: Array = ndimage.map_coordinates(grid, [across + 32, along + 32], mode="grid-wrap")
    return 1.5 * noise


def _step(distance: Array, width: float) -> Array:
    """A smooth step from 0 to 1 at distance 0."""
    return 0.5 * (1 + np.tanh(distance / width))


def _heart(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A dark heart beside a bright lung, with a curved border."""
    angle = rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(0.25, 0.6)
    radius = rng.uniform(0.6, 1.2)
    centre = 0.5 + (reach - radius) * np.array([np.cos(angle), np.sin(angle)])
    distance = radius - np.hypot(x - centre[0], y - centre[1])
    return rng.uniform(0.3, 0.9) * (_step(distance, rng.uniform(0.03, 0.15)) - 0.5)


def _spine(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Vertebrae: a soft dark column of blocks with brighter discs between them."""
    lean, place, width = rng.uniform(-0.3, 0.3), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.16)
    across = x - place - lean * (y - 0.5)
    column = _step(across + width, 0.03) * _step(width - across, 0.03)
    height, offset = rng.uniform(0.2, 0.3), rng.uniform(0, 1)
    discs = np.maximum(np.cos(2 * np.pi * (y / height + offset) + 2 * across), 0.0) ** 4
    return rng.uniform(0.08, 0.2) * column * (1 - 0.5 * discs)


def _ribs(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Parallel soft bands, each with slightly denser borders."""
    slope, bow, spacing = rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 0.5), rng.uniform(0.25, 0.4)
    height = (y - slope * x - bow * (x - 0.5) ** 2 + rng.uniform(0, spacing)) / spacing
    nearest = np.abs(height - np.round(height)) * spacing
    half = rng.uniform(0.035, 0.06)
    band = _step(half - nearest, 0.012)
    border: Array = np.exp(-(((nearest - half) / 0.012) ** 2))
    return rng.uniform(0.03, 0.09) * (band + 0.5 * border)


def _diaphragm(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A smooth dark dome that comes in from below with a rather sharp edge."""
    top, middle = rng.uniform(0.6, 0.9), rng.uniform(-0.1, 1.1)
    edge = top + rng.uniform(0.2, 0.7) * (x - middle) ** 2
    below = y - edge
    fading: Array = np.exp(-below.clip(0))
    return rng.uniform(0.15, 0.45) * _step(below, rng.uniform(0.006, 0.02)) * fading


def _streaks(rng: np.random.Generator, size: int, strength: float) -> Array:
    """The fine texture of lung vessels and muscle, in two directions."""
    angle = rng.uniform(-0.6, 0.6)
    coarse = smooth_noise(rng, size, 0.15, 0.05, angle)
    fine = smooth_noise(rng, size, 0.05, 0.02, rng.uniform(0, np.pi))
    return strength * rng.uniform(0.5, 1.3) * (coarse + fine)
