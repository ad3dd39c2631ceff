r"""What a segmenter is paid for, and what it makes larger for it: a per-pixel form of PPO.

The segmenter's map is a policy: with logit ``z`` a pixel is drawn as vessel with probability
``p = sigmoid(z)``, independently of the others. From the policy as it was, ``p_old``, K masks ``m``
are drawn. Let ``q`` be the probability that the truth is vessel at a pixel, of a labelled image the
truth itself. With

    B = sum m q,    S = sum m,    Q = sum q,    V = (S + Q) / 2

a mask is worth its expected Dice ``D = B / V``, recall ``R = B / Q`` or precision ``P = B / S``, or
a mean of these (`vesselrl.reward.closed_form`). One pixel more or less changes it by about

    dD/dm = a / (2 V)    with    a = 2 q - D;
    of recall  a = 2 q V / Q,    of precision  a = 2 (q - P) V / S.

Where there is no vessel at all (``Q = 0``) every score is 1 of the empty mask and 0 of any other
(`vesselrl.metrics.masks`), which tells no pixel anything. There ``a = -1``: that of Dice beside the
one good mask, by which every pixel drawn is one too many.

What a pixel is paid is this, as far as the reward knows it: ``a`` is shrunk towards zero by kappa
times the standard deviation ``s`` of ``q`` over the reward's members (soft threshold), and compared
with what the policy gets for it on average:

    A = (m - p_old) sign(a) max(|a| - kappa s, 0) / V.

It is the difference that the pixel's own decision makes (difference rewards; Foerster et al.,
"Counterfactual multi-agent policy gradients", AAAI 2018, arXiv:1705.08926), so that a mask's pixels
are praised and blamed one by one (twice that difference, as ``a / V`` is twice the derivative).
Where V is a weight, here and below, it is at least `LEAST_SHARE` of the pixels. With the ratio
``r = p(m) / p_old(m)`` of each pixel, what is made larger is

    1/K sum_k sum_pixels min(r A, clip(r, 1 - c, 1 + c) A)  -  beta / V  sum_pixels KL(p || p_start)

(Schulman et al., "Proximal policy optimization algorithms", 2017, arXiv:1707.06347; the penalty
holds the policy near the segmenter it starts from). Both terms are in units of vessel pixels:
without clipping, and were ``a`` fixed, the best logit would be that of the start plus ``a / beta``.

A pixel's ratio takes two values, one if it was drawn as vessel and one if not. So the K masks of an
image enter the clipped objective through four sums a pixel, `payments`, and more masks cost no more
memory or time in the backward pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SHARE = 0.01
"""As a weight, V is at least this share of the pixels: the penalty of a square with next to no
vessel would outweigh all others, and V of an empty mask where there is no vessel is 0."""

LARGEST = 20.0
"""Logarithm of the largest ratio: an infinite one times no blame would not be a number."""


class Worth(NamedTuple):
    """What masks are worth, and what one pixel more adds to it; each float (B, K).

    Attributes:
        score: the expected objective in [0, 1]; a ratio to nothing counts as 0, and S and Q below
            one pixel as one; where there is no vessel the empty mask is worth 1, others 0.
        size: V as a weight, in pixels.
        slope: of ``a = slope q - offset``, what one more pixel adds where the truth has
            probability q.
        offset: the other number of that line.
    """

    score: Tensor
    size: Tensor
    slope: Tensor
    offset: Tensor


def worth(masks: Tensor, q: Tensor, objective: Sequence[str]) -> Worth:
    """Judge masks by where the truth may be.

    Args:
        masks: float (B, K, H, W), 0 or 1.
        q: float (B, H, W) in [0, 1].
        objective: the scores whose mean is paid: dice, recall, precision.
    """
    both = torch.einsum("bkhw,bhw->bk", masks, q)
    drawn, true = masks.sum((2, 3)), q.sum((1, 2))[:, None].expand_as(both)
    area = (drawn + true) / 2
    per_drawn, per_true = 1 / drawn.clamp_min(1), 1 / true.clamp_min(1)
    dice, precision = both / area.clamp_min(torch.finfo(area.dtype).tiny), both * per_drawn
    rows = {  # score, slope, offset
        "dice": (dice, torch.full_like(both, 2), dice),
        "recall": (both * per_true, 2 * area * per_true, torch.zeros_like(both)),
        "precision": (precision, 2 * area * per_drawn, 2 * area * per_drawn * precision),
    }
    score, slope, offset = torch.stack([torch.stack(rows[name]) for name in objective]).mean(0)
    no_vessel = true == 0
    score = torch.where(no_vessel, (drawn == 0).to(score.dtype), score)
    offset = torch.where(no_vessel, torch.ones_like(offset), offset)
    return Worth(score, area.clamp_min(LEAST_SHARE * q[0].numel()), slope, offset)


def payments(
    masks: Tensor, old: Tensor, q: Tensor, spread: Tensor, value: Worth, kappa: float
) -> Tensor:
    """The advantages of all masks of an image, summed by what the clipping tells apart.

    Args:
        masks: float (B, K, H, W), 0 or 1, drawn from `old`.
        old: logits of the policy that drew them, float (B, H, W).
        q: float (B, H, W) in [0, 1].
        spread: standard deviation of `q` over the reward's members, float (B, H, W).
        value: of these masks.
        kappa: so many standard deviations are not believed.

    Returns:
        Float (B, 2, 2, H, W), none negative: of the masks in which the pixel is vessel, then of
        those in which it is not, the sum of ``A / K`` where A is positive, then of ``-A / K`` where
        it is negative.
    """
    slope, offset, size = (
        number[..., None, None] for number in (value.slope, value.offset, value.size)
    )
    a, doubt = slope * q[:, None] - offset, kappa * spread[:, None]
    share = 1 / (size * masks.shape[1])
    more, less = (a - doubt).relu() * share, (-a - doubt).relu() * share
    vessel, other, p = masks, 1 - masks, old.sigmoid()
    return torch.stack(
        [
            torch.stack([(vessel * part).sum(1) for part in (more, less)], 1) * (1 - p)[:, None],
            torch.stack([(other * part).sum(1) for part in (less, more)], 1) * p[:, None],
        ],
        1,
    )


def clipped_objective(logits: Tensor, old: Tensor, paid: Tensor, clip: float) -> Tensor:
    """PPO's objective, summed over the pixels, float (B,).

    Args:
        logits: of the policy, float (B, H, W).
        old: of the policy that drew the masks, float (B, H, W); without gradient.
        paid: float (B, 2, 2, H, W), as `payments` gives it.
        clip: how far a ratio may go from 1.
    """
    total = torch.zeros_like(logits)
    for drawn, sign in enumerate((1, -1)):
        praise, blame = paid[:, drawn, 0], paid[:, drawn, 1]
        log_ratio = functional.logsigmoid(sign * logits) - functional.logsigmoid(sign * old)
        ratio = log_ratio.clamp(max=LARGEST).exp()
        total = total + praise * ratio.clamp(max=1 + clip) - blame * ratio.clamp(min=1 - clip)
    return total.sum((1, 2))


def divergence(logits: Tensor, start: Tensor) -> Tensor:
    """KL(p || p_start) of each pixel in nats, of the shape of both logits."""
    return (
        logits.sigmoid() * (logits - start)
        + functional.logsigmoid(-logits)
        - functional.logsigmoid(-start)
    )
