"""Cross-fitting: maps of labelled images by networks that never saw them.

A network's map of an image it learned from flatters it. So the training groups are dealt to folds,
a network is trained for each fold without its images, and shows its honest errors on them.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.assignment import hashed
from vesselrl.errors import VesselrlError
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.unet.network import FLIPS, SegmentationNetwork

logger = logging.getLogger(__name__)


def deal_folds(groups: Mapping[str, str], folds: int, seed: int) -> dict[str, int]:
    """Deal images to folds, those of one group to the same.

    Groups, in the order of a hash of seed and name, go each to the fold with the fewest images so
    far; so the order of the images does not matter, and no two folds differ by more images than the
    largest group has. Fewer groups than folds make so many folds.

    Args:
        groups: image id → group.
        folds: how many are wanted.
        seed: of the order.

    Returns:
        Image id → fold, from 0.

    Raises:
        VesselrlError: there are fewer than two images.
    """
    if len(groups) < 2:
        raise VesselrlError(
            f"There are {len(groups)} training images; cross-fitting needs at least 2, better of "
            "several patients: annotate more, or change split.fractions or splits.json."
        )
    units = dict(groups)
    if len(set(units.values())) < 2:
        logger.warning(
            "All training images are of one group, so networks are cross-fitted image by image, "
            "and what they show of left-out images flatters them."
        )
        units = {image: image for image in groups}
    sizes = Counter(units.values())
    dealt = [0] * min(folds, len(sizes))
    fold_of: dict[str, int] = {}
    for unit in sorted(sizes, key=lambda name: (hashed(name, seed), name)):
        fold_of[unit] = dealt.index(min(dealt))
        dealt[fold_of[unit]] += sizes[unit]
    return {image: fold_of[unit] for image, unit in units.items()}


def honest_maps(
    image: npt.NDArray[np.uint8], fold: int, stages: Mapping[int, SegmentationNetwork]
) -> dict[str, npt.NDArray[Any]]:
    """What a fold's network shows of an image it never saw, at several stages of its training.

    Early stages make worse maps than the finished network: together they hold errors of all
    qualities. Mirrored views (`FLIPS`) err each in its own way.

    Args:
        image: uint8 (h, w), at the networks' size.
        fold: its number.
        stages: iteration → the network then, S of them.

    Returns:
        ``levels`` uint8 (4 S, h, w), see `vesselrl.segmenters.levels`: the four views of each
        stage, those of the longest training last; ``iterations`` int64 (4 S,); ``flips`` int64
        (4 S,), positions in `FLIPS`; ``fold`` int64 ().
    """
    maps = [
        network.logits(image, flips=True).sigmoid().cpu().numpy() for network in stages.values()
    ]
    return {
        "levels": to_levels(np.concatenate(maps)),
        "iterations": np.repeat(list(stages), len(FLIPS)),
        "flips": np.tile(np.arange(len(FLIPS)), len(stages)),
        "fold": np.array(fold),
    }


def folds_for_the_unseen(images: Sequence[str], folds: int) -> dict[str, int]:
    """Which fold's network shows images that no network has seen: each in turn."""
    return {image: number % folds for number, image in enumerate(sorted(images))}
