"""Images small enough to train on in seconds: a few dark lines in noise."""

from functools import partial

import numpy as np
import pytest
from scipy import ndimage

from vesselrl.segmenters.unet.examples import segmenter_example
from vesselrl.segmenters.unet.parameters import SupervisedParameters

SIZE = 64


def draw(number):
    """Image, uint8, and truth, bool, (SIZE, SIZE): curved lines, dark on grey."""
    rng = np.random.default_rng(number)
    mask, steps = np.zeros((SIZE, SIZE), bool), np.arange(SIZE)
    for _ in range(2):
        wave = rng.uniform(12, SIZE - 12) + 8 * np.sin(steps / rng.uniform(8, 20))
        line = np.zeros_like(mask)
        line[np.clip(wave, 0, SIZE - 1).astype(int), steps] = True
        mask |= ndimage.binary_dilation(line.T if rng.random() < 0.5 else line, iterations=2)
    return np.clip(150 - 60 * mask + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def examples():
    """Ten labelled images: id → loader of the example."""
    made = {f"i{number}": segmenter_example(*draw(number), SIZE) for number in range(10)}
    return {sample: partial(made.get, sample) for sample in made}


@pytest.fixture(scope="session")
def supervised():
    return SupervisedParameters(
        pretrained="none",
        max_side=SIZE,
        folds=2,
        training={
            "features": [4, 8, 8, 8, 8, 4], "downscale": 2, "norm": "batch", "patch": SIZE,
            "batch": 4, "iterations": 80, "learning_rate": 0.02, "ema_decay": 0.8,
            "checks": [0.25, 0.5, 1], "patience": 3,
        },
        students={"iterations": 6, "learning_rate": 0.01},
        augmentation={
            "angle": 60, "zoom": 0.2, "shear": 0.1, "bend": 2, "gamma": 0.3, "gain": 0.1,
            "sharpness": 0.5, "noise": 0.03, "shadows": 0.1, "inverted": 0,
        },
    )  # fmt: skip
