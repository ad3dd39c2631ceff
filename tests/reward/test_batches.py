import numpy as np
import pytest
import torch

from vesselrl.reward.batches import Resident, residents, sample_batch
from vesselrl.reward.examples import reward_examples
from vesselrl.reward.parameters import ExampleParameters

CPU = torch.device("cpu")


def make_example(drawn, sample, corruptions=3):
    parameters = ExampleParameters(max_side=96, corruptions=corruptions)
    return reward_examples(*drawn[sample], parameters, np.random.default_rng(0))


def draw_batch(examples, patch, seed=0):
    residents = [Resident.of(example, CPU) for example in examples]
    noise = torch.Generator().manual_seed(seed)
    return sample_batch(residents, patch, np.random.default_rng(seed), noise)


@pytest.mark.parametrize("patch", [64, 128])
def test_squares_have_their_size_even_where_the_image_is_smaller(drawn, patch):
    batch = draw_batch([make_example(drawn, "i0"), make_example(drawn, "i1")], patch)
    for name, part in batch._asdict().items():
        assert part.shape == ((2,) if name == "cut" else (2, patch, patch))
        assert part.dtype == torch.float32
        assert part.isfinite().all()
    for part in (batch.candidate, batch.judged, batch.truth):
        assert -1e-6 <= part.min() <= part.max() <= 1 + 1e-6


def same_everywhere(image, truth):
    levels = np.where(truth, 255, 0).astype(np.uint8)
    return {
        "image": image,
        "truth": levels,
        "maps": np.stack([levels, levels]),
        "sources": np.array(["", "unchanged"]),
    }


def test_image_maps_and_truth_move_together(drawn):
    """Of a scene in which all maps are the truth, all channels of a square are equal."""
    image, truth, _ = drawn["i0"]
    batch = draw_batch([same_everywhere(image, truth)] * 20, 64)
    assert (batch.judged - batch.truth).abs().max() < 0.01
    told = batch.candidate.flatten(1).std(1) > 0.01  # a few candidates say nothing
    assert 12 <= told.sum() < 20
    assert (batch.candidate - batch.truth)[told].abs().max() < 0.01
    for lit, where in zip(batch.image, batch.truth, strict=True):
        if where.max() > 0.9:
            assert lit[where > 0.9].mean() < lit[where < 0.1].mean()  # vessels are dark


def test_images_of_different_sizes_share_a_batch_and_show_nothing_beyond_their_edges(drawn):
    image, truth, _ = drawn["i0"]
    grey = np.full_like(image, 200)
    small = same_everywhere(grey[:70, :66], np.ones((70, 66), bool))
    large = same_everywhere(grey, np.ones(truth.shape, bool))
    for seed in range(5):
        batch = draw_batch([small, large], 96, seed)
        torch.testing.assert_close(batch.truth, torch.ones_like(batch.truth))


def test_a_corruption_is_judged_but_never_shown_to_the_network():
    black = np.zeros((64, 64), np.uint8)
    example = {
        "image": black,
        "truth": black,
        "maps": np.stack([black, black + 255]),
        "sources": np.array(["", "leakage"]),
    }
    batch = draw_batch([example] * 60, 64)
    assert batch.candidate.max() <= 0.5
    judged = int((batch.judged.flatten(1).min(1).values > 0.9).sum())
    assert 12 < judged < 48


def test_examples_without_corruptions_serve_too(drawn):
    assert draw_batch([make_example(drawn, "i0", corruptions=0)], 64).judged.shape == (1, 64, 64)


def test_the_same_seed_draws_the_same_batch(drawn):
    examples = [make_example(drawn, "i0")]
    one, same, other = (draw_batch(examples, 64, seed) for seed in (0, 0, 1))
    for part in one._asdict():
        torch.testing.assert_close(getattr(one, part), getattr(same, part), rtol=0, atol=0)
        assert not torch.equal(getattr(one, part), getattr(other, part))


def test_an_example_is_loaded_once(drawn):
    loaded = []

    def load():
        loaded.append("i0")
        return make_example(drawn, "i0")

    pool = residents([load], CPU)
    assert isinstance(pool[0], Resident)
    assert pool[0] is pool[0]
    assert loaded == ["i0"]
