"""Two dark vessels, drawn."""

import numpy as np
import pytest
from scipy import ndimage


@pytest.fixture(scope="module")
def truth():
    """Two vessels that cross a field of 200 × 200."""
    x = np.arange(200)
    mask = np.zeros((200, 200), bool)
    mask[(100 + 50 * np.sin(x / 40)).astype(int), x] = True
    mask[x, (60 + 0.4 * x).astype(int)] = True
    return ndimage.binary_dilation(mask, iterations=2)


@pytest.fixture(scope="module")
def image(truth):
    """Dark vessels on a background with a gradient and noise."""
    background = 120 + 0.3 * np.arange(200)[None, :]
    noise = np.random.default_rng(0).normal(0, 3, truth.shape)
    dark = ndimage.gaussian_filter(truth.astype(float), 1)
    return np.clip(background * (1 - 0.3 * dark) + noise, 0, 255).astype(np.uint8)
