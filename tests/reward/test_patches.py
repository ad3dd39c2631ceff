import numpy as np
import pytest
import torch

from vesselrl.reward.examples import reward_examples
from vesselrl.reward.parameters import ExampleParameters
from vesselrl.reward.patches import sample_patch


@pytest.fixture
def example(drawn):
    parameters = ExampleParameters(max_side=96, corruptions=3)
    return reward_examples(*drawn["i0"], parameters, np.random.default_rng(0))


@pytest.mark.parametrize("patch", [64, 128])
def test_a_patch_has_its_size_even_where_the_image_is_smaller(example, patch):
    sampled = sample_patch(example, patch, np.random.default_rng(0))
    assert sampled.shape == (4, patch, patch)
    assert sampled.dtype == torch.float32
    assert sampled.isfinite().all()
    assert 0 <= sampled[1:].min() <= sampled[1:].max() <= 1


def test_image_maps_and_truth_move_together(drawn):
    """Of a scene in which all maps are the truth, all channels of a patch are equal."""
    image, truth, _ = drawn["i0"]
    same = np.where(truth, 255, 0).astype(np.uint8)
    example = {
        "image": image,
        "truth": same,
        "maps": np.stack([same, same]),
        "sources": np.array(["", "unchanged"]),
    }
    for seed in range(5):
        sampled = sample_patch(example, 64, np.random.default_rng(seed))
        lit, candidate, judged, where = sampled
        assert (candidate - where).abs().max() < 0.01
        assert (judged - where).abs().max() < 0.01
        assert lit[where > 0.9].mean() < lit[where < 0.1].mean()  # vessels are dark


def test_a_corruption_is_judged_but_never_shown_to_the_network():
    black = np.zeros((64, 64), np.uint8)
    example = {
        "image": black,
        "truth": black,
        "maps": np.stack([black, black + 255]),
        "sources": np.array(["", "leakage"]),
    }
    patches = [sample_patch(example, 64, np.random.default_rng(seed)) for seed in range(40)]
    assert all(patch[1].max() < 0.01 for patch in patches)
    judged = [bool(patch[2].min() > 0.9) for patch in patches]
    assert 8 < sum(judged) < 32


def test_examples_without_corruptions_serve_too(drawn):
    parameters = ExampleParameters(max_side=96, corruptions=0)
    example = reward_examples(*drawn["i0"], parameters, np.random.default_rng(0))
    assert sample_patch(example, 64, np.random.default_rng(0)).shape == (4, 64, 64)
