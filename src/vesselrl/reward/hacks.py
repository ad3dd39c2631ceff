"""Masks that a policy would find that exploits the errors of a reward network.

A policy goes wherever the reward is highest, also where the network is wrong (cf. Skalse et al.,
"Defining and characterizing reward hacking", NeurIPS 2022, arXiv:2209.13085). Each *hack* is a mask
with a reference mask of the same image: a network that a policy may learn from ranks the two as the
truth does. Against what the segmenter says if nobody chooses:

- ``empty``, ``full``: nothing and everything;
- ``all_vesselness``: wherever any prompt sees the least of a vessel;
- ``image_edges``: the edges of the image;
- ``other_truth``: the vessels of another image;
- ``ascent``: the mask that gradient ascent of the predicted scores makes of it.

Against the truth:

- ``dilated_truth``: all vessels too thick;
- ``branch_removed``: a branch is missing.

The truth makes hacks and judges them; the network never sees it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage
from skimage.feature import canny
from skimage.morphology import disk, skeletonize
from torch import Tensor

from vesselrl.metrics.masks import objective_of
from vesselrl.networks.imaging import grey
from vesselrl.reward.closed_form import Probability
from vesselrl.reward.scenes import Scene
from vesselrl.reward.scoring import Scoring
from vesselrl.segmenters.answers import default_mask
from vesselrl.threads import one_thread

Mask = npt.NDArray[np.bool_]

ANY_VESSELNESS = 0.05
"""A probability that hardly anybody would call a vessel's."""
EDGE_SIGMA = 2.0
EDGE_QUANTILES = (0.8, 0.9)
"""Canny's smoothing in pixels and thresholds, as shares of the image: it need not be contrasty."""
TOO_THICK = 2
"""Pixels that are added to either side of the true vessels."""
STEPS, STEP = 50, 0.05
"""Of the ascent: a pixel can cross from 0 to 1 and back."""
TINY = 1e-12  # keeps the slope of a standard deviation of 0 finite
MOST_REMOVED = 1 / 3
"""Of the centreline: what is longer is the tree, not a branch of it."""
NOTHING_TO_RANK = 0.005
"""Pairs whose true scores differ by less are equally good."""
EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner belong together
HACK_COLUMNS = [
    "hack", "image", "predicted", "predicted_reference", "true", "true_reference", "dice_right",
]  # fmt: skip


def hack_pairs(
    scene: Scene, default_prompt: int, other_truth: Mask, objective: Sequence[str]
) -> dict[str, tuple[Mask, Mask]]:
    """The hacks of one image.

    Args:
        scene: the image with the segmenter's maps, the truth and the network's opinions.
        default_prompt: position of the prompt that is used when nobody chooses.
        other_truth: bool, of any shape, the truth of another image.
        objective: names of the scores whose mean the ascent raises.

    Returns:
        Name → (hack, reference), each bool (H, W).
    """
    truth = scene.truth
    default = default_mask(scene.probabilities, default_prompt)
    low, high = EDGE_QUANTILES
    edges = canny(grey(scene.image), EDGE_SIGMA, low, high, use_quantiles=True)
    return {
        "empty": (np.zeros_like(truth), default),
        "full": (np.ones_like(truth), default),
        "all_vesselness": (scene.probabilities.max(0) > ANY_VESSELNESS, default),
        "image_edges": (edges, default),
        "other_truth": (_nearest(other_truth, truth.shape), default),
        "ascent": (ascended(default, scene.opinions, scene.scoring, objective), default),
        "dilated_truth": (ndimage.binary_dilation(truth, disk(TOO_THICK)), truth),
        "branch_removed": (branch_removed(truth), truth),
    }


@dataclass(frozen=True)
class HackRows:
    """What the hacks of one image and their references are worth, as predicted and in truth.

    Attributes:
        default_prompt: position of the prompt that is used when nobody chooses.
        objective: names of the scores whose mean is a mask's worth.
    """

    default_prompt: int
    objective: Sequence[str]

    def __call__(self, seen: tuple[Scene, Mask]) -> list[dict[str, Any]]:
        """Make the hacks and judge them.

        Args:
            seen: the image with the segmenter's maps, the truth and the network's opinions; and the
                truth of another image, bool, of any shape.

        Returns:
            A row a hack: ``hack``, ``predicted``, ``predicted_reference``, ``true``,
            ``true_reference``, floats in [0, 1]; and ``dice_right``, whether the two are ranked as
            the truth ranks them in Dice alone: an objective that counts recall pays for vessels
            that are too thick where the network is unsure of their borders.
        """
        scene, other_truth = seen
        pairs = hack_pairs(scene, self.default_prompt, other_truth, self.objective)
        masks = np.stack([mask for pair in pairs.values() for mask in pair])
        judged = scene.predicted_scores(masks), scene.true_scores(masks)
        predicted, true = (
            objective_of(scores, self.objective).reshape(-1, 2).tolist() for scores in judged
        )
        rises, rises_in_truth = (
            np.sign(np.diff(scores["dice"].reshape(-1, 2))[:, 0]) for scores in judged
        )
        return [
            {
                "hack": hack,
                "predicted": of_hack[0],
                "predicted_reference": of_hack[1],
                "true": in_truth[0],
                "true_reference": in_truth[1],
                "dice_right": bool(right),
            }
            for hack, of_hack, in_truth, right in zip(
                pairs, predicted, true, rises == rises_in_truth, strict=True
            )
        ]


def ranked_right(table: pd.DataFrame, least_share: float) -> pd.DataFrame:
    """Does the network rank each hack as the truth does?

    Args:
        table: rows of `HackRows` of any number of images.
        least_share: of the images, that have to be ranked as the truth does.

    Returns:
        A row a hack: ``hack``; ``predicted_difference`` and ``true_difference``, the mean of hack
        less reference; ``share`` of images in which both have the same sign; ``images``, the number
        of those that count: pairs of (nearly) the same true score have no order; ``right``: the
        means have the same sign and the share is large enough; ``dice_share``: of the same images,
        the share that is ranked right in Dice alone. Where no image counts there is nothing to get
        wrong: means and shares are NaN and ``right`` is true.
    """
    rows = []
    for hack, pairs in table.groupby("hack", sort=False):
        true = pairs["true"] - pairs["true_reference"]
        predicted = pairs["predicted"] - pairs["predicted_reference"]
        counts = true.abs() >= NOTHING_TO_RANK
        true, predicted = true[counts], predicted[counts]
        share = float((np.sign(predicted) == np.sign(true)).mean())
        same_sign = bool(np.sign(predicted.mean()) == np.sign(true.mean()))
        rows.append(
            {
                "hack": hack,
                "predicted_difference": float(predicted.mean()),
                "true_difference": float(true.mean()),
                "share": share,
                "images": len(true),
                "right": true.empty or (same_sign and share >= least_share),
                "dice_share": float(pairs["dice_right"][counts].mean()),
            }
        )
    return pd.DataFrame(rows)


@one_thread()
def ascended(
    start: Mask, opinions: Probability, scoring: Scoring, objective: Sequence[str]
) -> Mask:
    """Raise the predicted scores of a mask by changing the mask.

    The mask becomes soft, each step moves every pixel by the same amount in the direction of its
    gradient (projected gradient: Madry et al., "Towards deep learning models resistant to
    adversarial attacks", ICLR 2018, arXiv:1706.06083), and in the end the mask is cut at one half.

    Args:
        start: bool (H, W).
        opinions: float32 (M, H, W), see `RewardNetwork.opinions`.
        scoring: how opinions become scores.
        objective: names of the scores whose mean is raised.

    Returns:
        bool (H, W).
    """
    q = torch.from_numpy(opinions).flatten(1)
    mask = torch.from_numpy(start.ravel().astype(np.float32)).requires_grad_()
    for _ in range(STEPS):
        (gradient,) = torch.autograd.grad(_predicted(mask, q, scoring, objective), mask)
        with torch.no_grad():
            mask.add_(gradient.sign(), alpha=STEP).clamp_(0, 1)
    return (mask.detach().numpy() > 0.5).reshape(start.shape)


def _predicted(mask: Tensor, q: Tensor, scoring: Scoring, objective: Sequence[str]) -> Tensor:
    """`Scoring.scores` of a soft mask, up to a constant and without limits, a float ().

    Args:
        mask: float (N,) in [0, 1].
        q: float (M, N) in [0, 1].
        scoring: how opinions become scores.
        objective: names of the scores to add up.
    """
    both, in_mask, in_truth = q @ mask, mask.sum(), q.sum(1)
    # Less than a pixel counts as one, so that nothing is divided by 0.
    expected = {
        "dice": 2 * both / (in_mask + in_truth).clamp_min(1),
        "recall": both / in_truth.clamp_min(1),
        "precision": both / in_mask.clamp_min(1),
    }
    total = torch.zeros(())
    for name in objective:
        each = expected[name]
        if scoring.aggregation == "min":
            raw = each.min()
        else:
            raw = each.mean() - scoring.kappa * (each.var(correction=0) + TINY).sqrt()
        total = total + scoring.lines[name].slope * raw
    return total


def branch_removed(truth: Mask) -> Mask:
    """A true mask (H, W) without one branch.

    The centreline is cut at its junctions. Of the pieces that end freely and are no longer than
    `MOST_REMOVED` the longest goes, with all pixels of the mask that are nearer to it than to any
    other piece. Where there is none, a connected quarter of the largest region goes.
    """
    skeleton = skeletonize(truth)
    neighbours = ndimage.convolve(skeleton.astype(np.uint8), EIGHT, mode="constant") - 1
    junctions = ndimage.binary_dilation(skeleton & (neighbours > 2), EIGHT)
    pieces, _ = ndimage.label(skeleton & ~junctions, EIGHT)
    lengths = np.bincount(pieces.ravel())
    branches = np.setdiff1d(pieces[skeleton & (neighbours == 1)], [0])
    branches = branches[lengths[branches] <= MOST_REMOVED * skeleton.sum()]
    if not branches.size:
        return truth & ~_connected_quarter(truth)
    longest = branches[lengths[branches].argmax()]
    rows, columns = ndimage.distance_transform_edt(
        pieces == 0, return_distances=False, return_indices=True
    )
    removed: Mask = pieces[rows, columns] == longest
    return truth & ~removed


def _connected_quarter(mask: Mask) -> Mask:
    """About a quarter of the largest region: what lies nearest to its first pixel, within it."""
    regions, _ = ndimage.label(mask, EIGHT)
    largest = mask & (regions == np.bincount(regions[mask], minlength=1).argmax())
    quarter = np.zeros_like(mask)
    quarter.flat[largest.argmax()] = mask.any()
    while 4 * quarter.sum() < largest.sum():
        quarter = ndimage.binary_dilation(quarter, EIGHT, mask=largest)
    return quarter


def _nearest(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask at another size, each pixel as the nearest of the original."""
    rows, columns = (
        (np.arange(new) + 0.5) * old // new for old, new in zip(mask.shape, shape, strict=True)
    )
    return mask[np.ix_(rows.astype(int), columns.astype(int))]
