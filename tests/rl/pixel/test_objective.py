from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from vesselrl.reward.closed_form import expected_scores
from vesselrl.rl.pixel.objective import clipped_objective, divergence, payments, worth

SCORES = ("dice", "recall", "precision")
objectives = st.lists(st.sampled_from(SCORES), min_size=1, max_size=3, unique=True)
seeds = st.integers(0, 10**6)


def drawn_world(seed, samples=3, side=6):
    """Logits of a policy, masks drawn from it, q and its spread, of two images."""
    noise = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(2, *shape, side, side, generator=noise, dtype=torch.float64)

    old = 4 * uniform() - 2
    masks = (uniform(samples) < old.sigmoid()[:, None]).double()
    return masks, old, uniform(), uniform() / 2


@given(seeds, objectives)
def test_masks_are_worth_their_expected_scores(seed, objective):
    masks, _, q, _ = drawn_world(seed)
    score = worth(masks, q, objective).score
    for image in range(2):
        expected = expected_scores(masks[image].bool().numpy(), q[image][None].numpy())
        mean = np.mean([expected[name][:, 0] for name in objective], axis=0)
        np.testing.assert_allclose(score[image], mean, atol=1e-6)


@given(seeds, objectives)
def test_a_is_the_derivative_of_the_score_by_each_pixel(seed, objective):
    masks, _, q, _ = drawn_world(seed)
    soft = (masks * 0.8 + 0.1).requires_grad_()  # no empty mask: its precision has no derivative
    value = worth(soft, q, objective)
    value.score.sum().backward()
    slope, offset, size = (
        v.detach()[..., None, None] for v in (value.slope, value.offset, value.size)
    )
    torch.testing.assert_close((slope * q[:, None] - offset) / (2 * size), soft.grad)


@given(seeds, st.integers(0, 35))
def test_a_tells_what_dice_changes_when_a_pixel_is_flipped(seed, pixel):
    masks, _, q, _ = drawn_world(seed)
    off, on = masks.clone(), masks.clone()
    off.flatten(2)[..., pixel], on.flatten(2)[..., pixel] = 0, 1
    before, after, value = worth(off, q, ["dice"]), worth(on, q, ["dice"]), worth(off, q, ["dice"])
    a = value.slope * q.flatten(1)[:, pixel, None] - value.offset
    flipped = a / (2 * before.size + 1)  # exact, with one pixel more below the line
    torch.testing.assert_close(after.score - before.score, flipped)


def sparse_world():
    """Three pixels drawn of 40 x 40, and three that may be vessel, two of them the same."""
    masks = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    q = torch.full((1, 40, 40), 1e-4, dtype=torch.float64)
    masks[..., 5, 5:8] = 1
    q[:, 5, 6:9] = 0.9
    return masks, q


@pytest.mark.parametrize("name", SCORES)
def test_where_next_to_nothing_is_vessel_masks_are_worth_their_expected_scores_too(name):
    masks, q = sparse_world()
    expected = expected_scores(masks[0].bool().numpy(), q.numpy())[name]
    np.testing.assert_allclose(worth(masks, q, [name]).score, expected, rtol=1e-6)


def test_where_next_to_nothing_is_vessel_only_what_raises_dice_is_paid():
    masks, q = sparse_world()
    q[:, 20, 20] = 0.1  # too unlikely: to draw it would lower the expected Dice
    value = worth(masks, q, ["dice"])
    drawn = masks.clone()
    drawn[..., 20, 20] = 1
    assert worth(drawn, q, ["dice"]).score < value.score
    (vessel, _), (other, _) = payments(
        masks, torch.zeros_like(q), q, torch.zeros_like(q), value, kappa=0
    )[0]
    assert other[20, 20] > 0  # praised for not being drawn
    assert vessel[5, 6] > 0


@pytest.mark.parametrize("name", SCORES)
def test_where_there_is_no_vessel_scores_are_those_of_empty_masks(name):
    masks = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    masks[0, 1, 2, 3], masks[0, 2, 1:5, 1:5] = 1, 1
    q = torch.zeros(1, 8, 8, dtype=torch.float64)
    expected = expected_scores(masks[0].bool().numpy(), q.numpy())[name][:, 0]
    assert expected.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(worth(masks, q, [name]).score[0], expected)


@given(objectives, seeds)
def test_where_there_is_no_vessel_every_pixel_is_paid_for_not_being_drawn(objective, seed):
    masks, old, q, _ = drawn_world(seed)
    empty = torch.zeros_like(q)
    value = worth(masks, empty, objective)
    vessel, other = payments(masks, old, empty, empty, value, kappa=2).unbind(1)
    assert not vessel[:, 0].any()
    assert not other[:, 1].any()
    assert torch.equal(vessel[:, 1] > 0, masks.any(1))
    assert torch.equal(other[:, 0] > 0, (1 - masks).any(1))
    logits = old.clone().requires_grad_()
    paid = torch.stack([vessel, other], 1)
    clipped_objective(logits, old, paid, 0.2).sum().backward()
    assert (logits.grad < 0).all()


@pytest.mark.parametrize("names", [["dice"], ["dice", "recall"]])
def test_a_vessel_that_may_be_there_keeps_the_derivative(names):
    masks, _ = sparse_world()
    barely = torch.zeros_like(masks[:, 0])
    barely[:, 0, 0] = 1e-3
    assert (worth(masks, barely, names).offset <= 1e-3).all()


def test_ratios_beyond_all_measure_leave_the_objective_a_number():
    old = torch.full((1, 2, 2), -200.0)
    logits = torch.full((1, 2, 2), 200.0, requires_grad=True)
    paid = torch.zeros(1, 2, 2, 2, 2)
    paid[:, 0, 0] = 1
    clipped_objective(logits, old, paid, 0.2).sum().backward()
    assert logits.grad.isfinite().all()


def naive_ppo(logits, masks, old, q, spread, objective, kappa, clip):
    """The formulas of the module, mask by mask."""
    total = torch.zeros(len(logits), dtype=logits.dtype)
    for k in range(masks.shape[1]):
        m = masks[:, k]
        value = worth(m[:, None], q, objective)
        a = value.slope[..., None] * q - value.offset[..., None]
        a = a.sign() * (a.abs() - kappa * spread).clamp_min(0)
        advantage = (m - old.sigmoid()) * a / value.size[..., None]
        log_p, log_old = (
            -functional.binary_cross_entropy_with_logits(z, m, reduction="none")
            for z in (logits, old)
        )
        ratio = (log_p - log_old).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
        total = total + gain.sum((1, 2)) / masks.shape[1]
    return total


@given(seeds, objectives, st.floats(0, 3), st.floats(0.05, 0.5), st.floats(0, 2))
def test_four_sums_a_pixel_are_the_clipped_objective_of_all_masks(
    seed, objective, kappa, clip, moved
):
    masks, old, q, spread = drawn_world(seed)
    logits = (old + moved * (q - 0.5)).requires_grad_()
    twin = logits.detach().clone().requires_grad_()
    value = worth(masks, q, objective)
    ours = clipped_objective(logits, old, payments(masks, old, q, spread, value, kappa), clip)
    naive = naive_ppo(twin, masks, old, q, spread, objective, kappa, clip)
    torch.testing.assert_close(ours, naive)
    ours.sum().backward()
    naive.sum().backward()
    torch.testing.assert_close(logits.grad, twin.grad)


def test_over_all_masks_the_gradient_is_that_of_the_mean_expected_dice():
    """Six pixels are undecided, beside a vessel that nobody doubts: every mask is gone through."""
    side, undecided = 20, 6
    sure = torch.full((side, side), -40.0, dtype=torch.float64)
    sure[:, 5:12] = 40.0
    places = [(3, 13), (5, 2), (9, 8), (11, 18), (14, 6), (18, 10)]
    noise = torch.Generator().manual_seed(0)
    z = torch.randn(undecided, generator=noise, dtype=torch.float64).requires_grad_()
    q = sure.sigmoid()
    for place in places:
        q[place] = torch.rand((), generator=noise)
    logits = sure.clone()
    for place, of_pixel in zip(places, z, strict=True):
        logits[place] = of_pixel
    every = [torch.tensor(bits, dtype=torch.float64) for bits in product((0, 1), repeat=undecided)]
    ours, exact = 0, 0
    old = logits.detach()
    for bits in every:
        mask = (sure > 0).double()
        for place, bit in zip(places, bits, strict=True):
            mask[place] = bit
        chance = torch.where(bits > 0, z.sigmoid(), 1 - z.sigmoid()).prod()
        value = worth(mask[None, None], q[None], ["dice"])
        paid = payments(
            mask[None, None], old[None], q[None], torch.zeros_like(q)[None], value, kappa=0
        )
        gain = clipped_objective(logits[None], old[None], paid, 0.2)[0]
        ours = ours + chance.detach() * gain
        exact = exact + chance * value.score[0, 0]
    (ours_grad,) = torch.autograd.grad(ours, z, retain_graph=True)
    (exact_grad,) = torch.autograd.grad(exact, z)
    torch.testing.assert_close(ours_grad, 2 * exact_grad, rtol=0.02, atol=0)


@given(seeds, st.integers(1, 4))
def test_the_order_of_masks_and_a_mirrored_image_change_nothing(seed, samples):
    masks, old, q, spread = drawn_world(seed, samples)
    paid = payments(masks, old, q, spread, worth(masks, q, SCORES), 1.0)
    turned = [t.flip(-1) for t in (masks.flip(1), old, q, spread)]
    mirrored = payments(*turned, worth(turned[0], turned[2], SCORES), 1.0)
    torch.testing.assert_close(mirrored.flip(-1), paid)


@given(seeds)
def test_no_image_of_a_batch_changes_what_another_is_paid(seed):
    masks, old, q, spread = drawn_world(seed)
    together = payments(masks, old, q, spread, worth(masks, q, SCORES), 1.0)
    alone = [part[1:] for part in (masks, old, q, spread)]
    torch.testing.assert_close(
        together[1:], payments(*alone, worth(alone[0], alone[2], SCORES), 1.0)
    )


@given(seeds, st.floats(0, 4), st.floats(0, 4))
def test_more_doubt_never_pays_more(seed, one, other):
    masks, old, q, spread = drawn_world(seed)
    value = worth(masks, q, ["dice"])
    timid, bold = (
        payments(masks, old, q, spread, value, kappa)
        for kappa in (max(one, other), min(one, other))
    )
    assert (timid >= 0).all()
    assert (timid <= bold + 1e-12).all()


def test_where_the_reward_does_not_know_nothing_is_paid():
    masks, old, q, _ = drawn_world(0)
    paid = payments(masks, old, q, torch.full_like(q, 0.5), worth(masks, q, ["dice"]), kappa=4)
    assert not paid.any()


@pytest.mark.parametrize(("moved", "pulls"), [(-1.0, True), (0.0, True), (1.0, False)])
def test_a_praised_pixel_is_pulled_until_its_ratio_leaves_the_clip(moved, pulls):
    old = torch.zeros(1, 4, 4)
    logits = (old + moved).requires_grad_()
    praised_vessel = torch.zeros(1, 2, 2, 4, 4)
    praised_vessel[:, 0, 0] = 1
    clipped_objective(logits, old, praised_vessel, clip=0.2).sum().backward()
    assert (logits.grad > 0).all() if pulls else not logits.grad.any()


@given(seeds)
def test_the_divergence_is_that_of_bernoulli_variables(seed):
    _, start, q, _ = drawn_world(seed)
    logits = 10 * q - 5
    one, other = (torch.distributions.Bernoulli(logits=z) for z in (logits, start))
    expected = torch.distributions.kl_divergence(one, other)
    torch.testing.assert_close(divergence(logits, start), expected, rtol=1e-6, atol=1e-9)
    assert not divergence(start, start).abs().gt(1e-12).any()


@pytest.mark.parametrize("q", [0.0, 1.0])
@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_empty_and_full_masks_have_finite_payments(mask, q):
    masks, truth = torch.full((1, 2, 4, 4), mask), torch.full((1, 4, 4), q)
    old = torch.full((1, 4, 4), 200.0 if mask else -200.0)
    value = worth(masks, truth, SCORES)
    paid = payments(masks, old, truth, torch.zeros_like(truth), value, 0.0)
    assert paid.isfinite().all()
    assert clipped_objective(old, old, paid, 0.2).isfinite().all()
    assert divergence(old, -old).isfinite().all()
