"""Random squares of images: placed, warped and lit anew.

Everything random about geometry and choice comes from a numpy Generator, so that it is the same on
every device; fields of noise come from a torch Generator on the device. A process that has a share
of each batch draws for the whole batch, so that its rows are those of a process alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vesselrl.devices import sent
from vesselrl.networks.data_parallel import ALONE, Share


@dataclass(frozen=True)
class Augmentation:
    """How much is changed; every number is the most, and 0 or less of it is as likely.

    Attributes:
        angle: turned to either side, in radians.
        zoom: logarithm of the factor, nearer or farther.
        shear: sideways per pixel upwards.
        bend: pixels that a smooth field moves a point, one standard deviation.
        gamma: logarithm of the exponent.
        gain: standard deviation of a smooth factor.
        sharpness: share of what a blur takes away, added or taken.
        noise: standard deviation, of the range from black to white.
        shadows: depth of soft edges through the image.
        inverted: probability that dark and bright change over.
    """

    angle: float = np.pi
    zoom: float = 0.3
    shear: float = 0.2
    bend: float = 3.0
    gamma: float = 0.4
    gain: float = 0.15
    sharpness: float = 0.7
    noise: float = 0.04
    shadows: float = 0.0
    inverted: float = 0.0


def random_places(
    sizes: npt.NDArray[np.int64],
    patch: int,
    strength: Augmentation,
    rng: np.random.Generator,
    device: torch.device,
    share: Share = ALONE,
) -> Tensor:
    """Turn, mirror, shear, scale and bend a square for each image.

    Args:
        sizes: int (B, 2), height and width of each image, of this process's rows.
        patch: the squares' side.
        strength: how much.
        rng: draws them.
        device: of the result.
        share: of the batch.

    Returns:
        float32 (B, patch, patch, 2): x and y, from -1 to 1 across the image; beyond, outside.
    """
    count, extent = len(sizes) * share.ranks, np.flip(sizes, 1).copy()
    angle = rng.uniform(-strength.angle, strength.angle, count)
    zoom = np.exp(rng.uniform(-strength.zoom, strength.zoom, count))
    shear = rng.uniform(-strength.shear, strength.shear, count)
    mirror = rng.choice([-1, 1], count)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    linear = np.stack([cos, cos * shear - sin * mirror, sin, sin * shear + cos * mirror], axis=1)
    reach = np.clip(1 - patch / extent, 0.1, None)
    centre = extent / 2 * (1 + share.of(rng.uniform(-1, 1, (count, 2))) * reach)
    bends = rng.normal(0, 1, (count, 2, 5, 5)) * rng.uniform(0, strength.bend, (count, 1, 1, 1))

    turned = sent(share.of(linear), device).reshape(-1, 2) @ _square(patch, device)
    bent = turned.view(-1, 2, patch, patch) + _enlarged(sent(share.of(bends), device), patch)
    places = bent + sent(centre, device)[..., None, None]
    return (places * sent(2 / extent, device)[..., None, None] - 1).permute(0, 2, 3, 1)


@lru_cache
def _square(side: int, device: torch.device) -> Tensor:
    """Where a square's pixels are, x and y, row by row, 0 at its centre: float (2, side²)."""
    along = torch.arange(side, device=device) + 0.5 - side / 2
    return torch.stack(torch.meshgrid(along, along, indexing="xy")).flatten(1)


def squares_at(stacks: Sequence[Tensor], places: Tensor) -> Tensor:
    """What lies at places of images, between four pixels; what is beyond their edges is mirrored.

    Args:
        stacks: uint8 (C, h, w) of each image, on one device.
        places: float32 (B, s, s, 2), see `random_places`.

    Returns:
        float32 (B, C, s, s) in [0, 255].
    """
    if stacks[0].is_cuda and len({stack.shape for stack in stacks}) == 1:
        return _interpolated(torch.stack(list(stacks)), places)
    # One by one: all images together, as floats, would not stay in a CPU's cache.
    return torch.cat(
        [
            _interpolated(stack[None], where[None])
            for stack, where in zip(stacks, places, strict=True)
        ]
    )


def _interpolated(stacks: Tensor, places: Tensor) -> Tensor:
    return functional.grid_sample(
        stacks.float(), places, padding_mode="reflection", align_corners=False
    )


def relit(
    image: Tensor,
    strength: Augmentation,
    rng: np.random.Generator,
    noise: torch.Generator,
    share: Share = ALONE,
) -> Tensor:
    """Change the light of (B, s, s) in [0, 1]: gamma, a smooth gain, blur or sharpening, noise.

    With ``strength.shadows`` also soft edges that are no vessels, and for a share of the images,
    ``strength.inverted``, dark and bright changed over.
    """
    count, size = len(image) * share.ranks, image.shape[-1]

    def field(*shape: int) -> Tensor:
        return share.of(torch.randn(count, *shape, generator=noise, device=image.device))

    def column(drawn: npt.NDArray[np.float64]) -> Tensor:
        return _column(share.of(drawn.T).T, image)

    ranges = (
        (-strength.gamma, strength.gamma),
        (-strength.sharpness, strength.sharpness),
        (0, strength.noise),
    )
    drawn = [rng.uniform(low, high, count) for low, high in ranges]
    gamma, sharpness, grain = column(np.array(drawn))
    gain = 1 + strength.gain * _enlarged(field(1, 4, 4), size)[:, 0]
    lit = image.clamp(1e-3, 1) ** gamma.exp() * gain
    lit = lit + sharpness * (lit - _smoothed(lit))
    if strength.shadows:
        depth, steepness = column(
            np.array(
                [
                    rng.uniform(-strength.shadows, strength.shadows, count),
                    np.exp(rng.uniform(0, 3.5, count)),
                ]
            )
        )
        lit = lit * (1 + depth * (steepness * _enlarged(field(1, 5, 5), size)[:, 0]).tanh())
    if strength.inverted:
        (over,) = column((rng.random(count) < strength.inverted)[None].astype(float))
        lit = lit + over * (1 - 2 * lit)
    return lit + grain * field(*lit.shape[1:])


def _column(numbers: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    """Numbers for each image, (N, B), in a shape that goes with (B, s, s)."""
    return sent(numbers, like.device)[..., None, None]


def _smoothed(image: Tensor) -> Tensor:
    """Means of 3 × 3 pixels of (B, s, s), those at the edges repeated."""
    wide = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def _enlarged(grid: Tensor, side: int) -> Tensor:
    """Bicubic interpolation of (..., n, n) to (..., side, side), as two products of matrices."""
    weights = _cubic(grid.shape[-1], side, grid.device)
    return weights @ grid @ weights.T


@lru_cache
def _cubic(count: int, side: int, device: torch.device) -> Tensor:
    """What each of `count` points in a row adds to each of `side`, float (side, count)."""
    points = torch.eye(count, device=device)[None, :, :, None]
    return functional.interpolate(points, (side, 1), mode="bicubic")[0, :, :, 0].T.contiguous()
