"""Dark lines in noise, and a segmenter that finds them but draws them too thin."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import ndimage

from vesselrl.networks.architecture import Architecture
from vesselrl.networks.augmentation import Augmentation
from vesselrl.rl.pixel.guard import Guard
from vesselrl.rl.pixel.parameters import PolicyParameters
from vesselrl.rl.pixel.reward_maps import RewardMap, labelled, rewarded
from vesselrl.segmenters.unet.fitting import SegmenterLearner
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import UnetTrainingParameters

SIZE = 64
STRENGTH = Augmentation(angle=0.2, zoom=0.1, shear=0.05, bend=0.5, gamma=0.1, gain=0.05, noise=0.02)


class World(NamedTuple):
    images: list
    truths: list
    start: SegmentationNetwork


def draw(number):
    """An image, uint8 (SIZE, SIZE), and its truth, bool."""
    rng = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), bool)
    steps = np.arange(SIZE)
    for _ in range(2):
        wave = rng.uniform(8, SIZE - 8) + 5 * np.sin(steps / rng.uniform(8, 20))
        line = np.zeros_like(mask)
        line[np.clip(wave, 0, SIZE - 1).astype(int), steps] = True
        mask |= ndimage.binary_dilation(line.T if rng.random() < 0.5 else line, iterations=2)
    dark = 150 - 60 * ndimage.gaussian_filter(mask.astype(float), 0.7)
    return np.clip(dark + rng.normal(0, 8, mask.shape), 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def world():
    """Twelve images, and a segmenter that learnt from six of them, its threshold badly placed."""
    images, truths = zip(*(draw(number) for number in range(12)), strict=True)
    pairs = [
        torch.from_numpy(np.stack([image, truth.astype(np.uint8) * 255]))
        for image, truth in zip(images[:6], truths[:6], strict=True)
    ]
    parameters = UnetTrainingParameters(
        features=[4, 8, 8, 8, 8, 4], downscale=2, norm="batch", patch=64, batch=4, iterations=120,
        learning_rate=0.02, ema_decay=0.9,
    )  # fmt: skip
    architecture = Architecture(1, tuple(parameters.features), parameters.downscale)
    learner = SegmenterLearner(architecture, parameters, STRENGTH, 0, torch.device("cpu"))
    while not learner.finished:
        learner.step([pairs])
    module = learner.averaged()
    with torch.no_grad():
        module[1].final_conv.bias -= 2.5
    return World(list(images), list(truths), SegmentationNetwork(module, architecture, SIZE))


@pytest.fixture(scope="session")
def strength():
    return STRENGTH


@pytest.fixture(scope="session")
def policy_parameters():
    return PolicyParameters(
        patch=64, unlabelled=4, labelled=0, samples=2, inner_steps=2, iterations=20,
        learning_rate=3e-3, ema_decay=0.5, clip=0.2, kl=0.1, kappa=2.0, check_every=5, patience=4,
    )  # fmt: skip


@pytest.fixture(scope="session")
def pools(world):
    """Images to learn from: judged by a perfect reward, and by their truth."""
    truths = [truth.astype(np.float32) for truth in world.truths]
    perfect = [RewardMap(truth, np.zeros_like(truth)) for truth in truths]
    judged = [rewarded(*pair) for pair in zip(world.images[:6], perfect[:6], strict=True)]
    true = [
        labelled(image, truth.astype(np.uint8) * 255)
        for image, truth in zip(world.images[:6], world.truths[:6], strict=True)
    ]
    return [torch.from_numpy(a) for a in judged], [torch.from_numpy(a) for a in true]


@pytest.fixture(scope="session")
def make_guard(world):
    """A guard of images 6 to 9; who predicts them may be wrong, or may be nobody at all."""

    def make(predict=lambda truth: truth, validation=range(6, 10)):
        def view(number, *of):
            truth = world.truths[number]
            return world.images[number], np.stack([judge(truth) for judge in of]).astype(np.float32)

        return Guard(
            [partial(view, number, lambda truth: truth, predict) for number in validation],
            [partial(view, number, predict) for number in range(6)],
            ["dice", "recall"],
        )

    return make
