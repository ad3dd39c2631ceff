"""Images small enough to train on in seconds: a few dark lines in noise."""

import numpy as np
import pytest
from scipy import ndimage

from vesselrl.reward.parameters import (
    ExampleParameters,
    FitnessParameters,
    RewardParameters,
    ScalarParameters,
    TrainingParameters,
)
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.parameters import FilterParameters

SIZE = 96


def draw_lines(rng):
    """Curved lines of random calibre, bool (SIZE, SIZE)."""
    mask = np.zeros((SIZE, SIZE), bool)
    steps = np.arange(SIZE)
    for _ in range(3):
        wave = rng.uniform(10, SIZE - 10) + rng.uniform(4, 10) * np.sin(steps / rng.uniform(8, 20))
        line = np.zeros_like(mask)
        line[np.clip(wave, 0, SIZE - 1).astype(int), steps] = True
        line = line.T if rng.random() < 0.5 else line
        mask |= ndimage.binary_dilation(line, iterations=int(rng.integers(1, 3)))
    return mask


def draw_image(mask, rng):
    """Lines dark on grey, uint8 (SIZE, SIZE)."""
    dark = 150 - 60 * ndimage.gaussian_filter(mask.astype(float), 0.7)
    return np.clip(dark + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8)


def draw_maps(mask, rng):
    """Four prompts: good, too thick, half of the tree, and mostly noise, uint8 levels (4, …)."""
    noise = ndimage.gaussian_filter(rng.random(mask.shape), 3) > 0.52
    half = mask & (np.arange(SIZE) < rng.integers(30, 70))
    answers = [mask, ndimage.binary_dilation(mask, iterations=2), half, noise]
    soft = [ndimage.gaussian_filter(a.astype(np.float32), 1) for a in answers]
    return to_levels(np.clip(np.stack(soft), 0, 1))


@pytest.fixture(scope="session")
def drawn():
    """Ten images: id → (image, truth, levels)."""
    world = {}
    for number in range(10):
        rng = np.random.default_rng(number)
        mask = draw_lines(rng)
        world[f"i{number}"] = (draw_image(mask, rng), mask, draw_maps(mask, rng))
    return world


@pytest.fixture(scope="session")
def reward_parameters():
    return RewardParameters(
        examples=ExampleParameters(max_side=SIZE, corruptions=3),
        training=TrainingParameters(
            members=1,
            features=[4, 8, 8, 8, 8, 4],
            downscale=2,
            patch=64,
            batch=4,
            iterations=120,
            learning_rate=0.02,
            ema_decay=0.9,
            checks=2,
            patience=2,
            aggregation="lower_bound",
            kappa=0.5,
        ),
        scalar=ScalarParameters(
            side=32, channels=[8] * 4, batch=8, iterations=5, learning_rate=0.01
        ),
        unseen_segmenter=FilterParameters(
            kind="tophat",
            default_prompt="vessels",
            max_side=SIZE,
            prompts={"vessels": {"scales": [5], "fraction": 0.1, "min_size": 0}},
        ),
        fitness=FitnessParameters(tau=0.3, hacks_right=0.75),
    )
