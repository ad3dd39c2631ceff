"""The cheap rival of RL on a segmenter's weights: its map corrected by what the reward knows."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.reward.network import RewardNetwork
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.unet.network import SegmentationNetwork, ensemble


def refined_map(
    network: RewardNetwork, folds: Sequence[SegmentationNetwork], image: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[Any]]:
    """Mean of the fold ensemble's map and of what the reward network makes of it.

    Args:
        network: the reward network.
        folds: networks that cross-fitting trained.
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        ``levels`` uint8 (H, W), see `vesselrl.segmenters.levels`; ``seconds`` float64 (), what it
        took.
    """
    started = time.perf_counter()
    map_ = ensemble(folds, image)
    refined = (map_ + network.own_map(image, map_)) / 2
    return {"levels": to_levels(refined), "seconds": np.array(time.perf_counter() - started)}
