import numpy as np
import pytest

from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.examples import reward_examples
from vesselrl.reward.parameters import ExampleParameters
from vesselrl.segmenters.levels import from_levels


def make(drawn, sample="i0", max_side=96, corruptions=3, seed=0):
    parameters = ExampleParameters(max_side=max_side, corruptions=corruptions)
    return reward_examples(*drawn[sample], parameters, np.random.default_rng(seed))


def test_examples_hold_the_segmenters_maps_and_then_corruptions(drawn):
    example = make(drawn)
    image, _, levels = drawn["i0"]
    np.testing.assert_array_equal(example["image"], image)
    np.testing.assert_array_equal(example["maps"][:4], levels)
    assert example["maps"].shape == (7, 96, 96)
    assert [bool(source) for source in example["sources"]] == [False] * 4 + [True] * 3


def test_examples_can_be_the_segmenters_maps_alone(drawn):
    example = make(drawn, corruptions=0)
    assert example["maps"].shape == (4, 96, 96)
    assert not any(example["sources"])


def test_large_images_are_reduced_with_their_maps_and_truth(drawn):
    example = make(drawn, max_side=48)
    assert example["image"].shape == example["truth"].shape == (48, 48)
    assert example["maps"].shape == (7, 48, 48)
    share = drawn["i0"][1].mean()
    assert example["truth"].mean() / 255 == pytest.approx(share, abs=0.005)


def test_of_a_colour_image_the_green_channel_is_used(drawn):
    image, truth, levels = drawn["i0"]
    colour = np.stack([np.zeros_like(image), image, np.zeros_like(image)], axis=2)
    example = make({"i0": (colour, truth, levels)})
    np.testing.assert_array_equal(example["image"], image)


def test_the_generator_alone_decides_the_corruptions(drawn):
    one, same, other = make(drawn), make(drawn), make(drawn, seed=1)
    np.testing.assert_array_equal(one["maps"], same["maps"])
    assert (one["maps"] != other["maps"]).any()


def test_examples_cover_dice_from_useless_to_perfect(drawn):
    example = make(drawn, corruptions=30)
    truth = example["truth"][None] / np.float32(255)
    dice = expected_scores(from_levels(example["maps"]) > 0.5, truth)["dice"][:, 0]
    counts, _ = np.histogram(dice, bins=5, range=(0, 1))
    assert (counts > 0).sum() >= 4
    assert counts[-1] > 0
