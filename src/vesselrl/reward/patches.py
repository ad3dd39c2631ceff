"""What one training step sees of an image: a square, randomly placed, turned, scaled and re-lit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vesselrl.segmenters.levels import from_levels

Example = Mapping[str, npt.NDArray[Any]]
"""What `vesselrl.reward.examples.reward_examples` returns."""


def sample_patch(example: Example, patch: int, rng: np.random.Generator) -> Tensor:
    """A random square of an example.

    The candidate is the mean of all prompts' maps, as it is when the network is used, or of some of
    them. The map whose masks are judged is a single prompt's or a corruption of the truth. A
    corruption is never the candidate: it would tell the network where the truth is.

    Returns:
        float32 (4, patch, patch): image, candidate, judged map, truth; all but the image in [0, 1].
    """
    own = np.flatnonzero(example["sources"] == "")
    corrupted = np.flatnonzero(example["sources"] != "")
    some = rng.choice(own, rng.integers(1, len(own) + 1), replace=False)
    candidate = from_levels(example["maps"][own if rng.random() < 0.5 else some]).mean(0)
    judges = corrupted if len(corrupted) and rng.random() < 0.5 else own
    judged = from_levels(example["maps"][rng.choice(judges)])
    image, truth = (example[key] / np.float32(255) for key in ("image", "truth"))
    sampled = _random_affine(
        torch.from_numpy(np.stack([image, candidate, judged, truth])), patch, rng
    )
    sampled[0] = _relight(sampled[0], rng)
    return sampled


def _random_affine(stack: Tensor, patch: int, rng: np.random.Generator) -> Tensor:
    """Turn, mirror, shear and scale maps (C, H, W) into squares (C, patch, patch)."""
    height, width = stack.shape[1:]
    angle = rng.uniform(-np.pi, np.pi)
    zoom = np.exp(rng.uniform(-0.3, 0.3))
    shear = rng.uniform(-0.2, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, rng.choice([-1, 1])]]) * zoom * patch
    # grid_sample counts from -1 to 1 across the image, whatever its size.
    linear /= np.array([[width], [height]])
    centre = rng.uniform(-1, 1, 2) * np.clip(1 - patch / np.array([width, height]), 0.1, None)
    theta = torch.tensor(np.column_stack([linear, centre]), dtype=torch.float32)[None]
    grid = functional.affine_grid(theta, [1, len(stack), patch, patch], align_corners=False)
    return functional.grid_sample(
        stack[None], grid, padding_mode="reflection", align_corners=False
    )[0]


def _relight(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Random gamma, a smooth random gain and noise on an image (H, W) in [0, 1]."""
    size = image.shape[-1]
    field = torch.from_numpy(rng.standard_normal((1, 1, 4, 4)).astype(np.float32))
    gain = 1 + 0.15 * functional.interpolate(field, (size, size), mode="bicubic")[0, 0]
    noise = torch.from_numpy(rng.standard_normal((size, size)).astype(np.float32))
    lit = image.clamp(1e-3, 1) ** float(np.exp(rng.uniform(-0.4, 0.4)))
    return lit * gain + noise * rng.uniform(0, 0.04)
