"""How the segmenter's network learns, step by step."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional

from vesselrl.networks.augmentation import Augmentation
from vesselrl.segmenters.unet.fitting import SegmenterLearner, sample_squares, segmentation_loss

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pairs(examples):
    made = [examples[sample]() for sample in ("i0", "i1", "i2")]
    return [torch.from_numpy(np.stack([e["image"], e["truth"]])) for e in made]


def learner(supervised, seed=0, device=CPU, **changes):
    training = supervised.training.model_copy(update=changes)
    strength = supervised.augmentation.strength
    return SegmenterLearner(training.architecture, training, strength, seed, device)


def drawn(pairs, side=64, strength=None, seed=0):
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    return sample_squares(pairs, side, strength or Augmentation(), rng, noise)


def test_an_image_and_its_targets_are_warped_as_one(pairs):
    """An image that is its own target stays so, whatever the warp, but for the light."""
    image = pairs[0][:1]
    dark = torch.cat([image, image, 255 - image])
    warped = Augmentation(gamma=0, gain=0, sharpness=0, noise=0)
    seen, targets = drawn([dark] * 3, strength=warped)
    assert seen.shape == (3, 1, 64, 64)
    assert targets.shape == (3, 2, 64, 64)
    for square, same, other in zip(seen[:, 0], targets[:, 0], targets[:, 1], strict=True):
        assert torch.corrcoef(torch.stack([square.flatten(), same.flatten()]))[0, 1] > 0.999
        torch.testing.assert_close(other, 1 - same, atol=1e-5, rtol=0)


def test_what_the_network_sees_has_no_brightness_of_its_own(pairs):
    seen, _ = drawn(pairs)
    torch.testing.assert_close(seen.mean((1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((1, 2, 3)), torch.ones(3), atol=1e-2, rtol=0)


def test_the_loss_is_twice_the_cross_entropy_and_the_dice_loss():
    rng = torch.Generator().manual_seed(0)
    logits, target = (torch.randn(2, 1, 8, 8, generator=rng) for _ in range(2))
    target = target.sigmoid()  # soft
    p = logits.sigmoid()
    both = (p * target).sum((1, 2, 3))
    dice = (2 * both + 1e-5) / ((p + target).sum((1, 2, 3)) + 1e-5)
    entropy = functional.binary_cross_entropy(p, target)
    expected = 2 * entropy + (1 - dice).mean()
    torch.testing.assert_close(segmentation_loss(logits, target), expected)


def branching():
    """A trunk and a thin branch; a map without a piece of the branch, and one that lacks as many
    pixels at the trunk's side; logits (1, 1, 48, 48)."""
    truth = torch.zeros(1, 1, 48, 48)
    truth[..., 4:44, 8:17] = 1
    truth[..., 20:23, 17:44] = 1
    broken, thinner = truth.clone(), truth.clone()
    broken[..., 20:23, 24:32] = 0
    thinner[..., 10:34, 8] = 0
    assert broken.sum() == thinner.sum() < truth.sum()
    return truth, *(12 * (one - 0.5) for one in (broken, thinner))


def test_with_cldice_a_broken_branch_costs_more_than_its_pixels():
    truth, broken, thinner = branching()
    plain = [float(segmentation_loss(map_, truth)) for map_ in (broken, thinner)]
    assert plain[0] == pytest.approx(plain[1], rel=1e-3)
    whole = [float(segmentation_loss(map_, truth, cldice=1)) for map_ in (broken, thinner)]
    assert whole[0] - plain[0] > 2 * (whole[1] - plain[1])


def test_cldice_pulls_harder_at_a_gap_than_at_a_ragged_side():
    truth, broken, thinner = branching()

    def pull(map_, cldice):
        logits = map_.clone().requires_grad_()
        segmentation_loss(logits / 6, truth, cldice).backward()  # soft maps: none is saturated
        missing = (map_ < 0) & (truth > 0)
        return float(-logits.grad[missing].mean())

    at_gap, at_side = (pull(m, 1) - pull(m, 0) for m in (broken, thinner))
    assert at_gap > 2 * max(at_side, 0)
    assert at_gap > 0


def test_the_weight_of_cldice_steers_what_is_learnt(pairs, supervised):
    plain, same, other = (learner(supervised, cldice=weight) for weight in (0, 0, 1))
    losses = [float(one.step([pairs])) for one in (plain, same, other)]
    assert losses[0] == losses[1] < losses[2]


def test_each_pool_gives_an_equal_part_of_the_batch(pairs, supervised, monkeypatch):
    batches = []

    def remember(chosen, *_):
        batches.append(chosen)
        return torch.zeros(4, 1, 64, 64), torch.zeros(4, 1, 64, 64)

    monkeypatch.setattr("vesselrl.segmenters.unet.fitting.sample_squares", remember)
    learner(supervised).step([pairs[:1], pairs[1:2]])
    owners = [next(n for n, p in enumerate(pairs) if p is one) for one in batches[0]]
    assert owners == [0, 0, 1, 1]


def test_the_average_follows_the_weights(pairs, supervised):
    one = learner(supervised, ema_decay=0.5)
    means = None
    for _ in range(3):
        one.step([pairs])
        now = torch.cat([w.detach().flatten() for w in one.module.parameters()])
        means = now if means is None else 0.5 * means + 0.5 * now
    kept = torch.cat([w.flatten() for w in one.averaged().parameters()])
    torch.testing.assert_close(kept, means)


def test_a_learner_goes_on_exactly_where_its_state_was_taken(pairs, supervised):
    one = learner(supervised)
    one.step([pairs])
    other = learner(supervised, seed=5)
    other.load_state(deepcopy(one.state()))
    for _ in range(2):
        assert one.step([pairs]).equal(other.step([pairs]))
    for mine, its in zip(one.average.parameters(), other.average.parameters(), strict=True):
        assert mine.equal(its)


def test_training_leaves_the_callers_random_numbers_alone(pairs, supervised):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    learner(supervised).step([pairs])
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_training_learns_as_on_the_cpu(pairs, supervised):
    losses = {}
    for device in (CPU, torch.device("cuda")):
        one = learner(supervised, device=device)
        pool = [pair.to(device) for pair in pairs]
        losses[device.type] = [float(one.step([pool])) for _ in range(40)]
    means = [np.mean(losses[kind][-10:]) for kind in ("cpu", "cuda")]
    assert means[0] == pytest.approx(means[1], rel=0.2)
