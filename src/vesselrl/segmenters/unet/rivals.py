"""What can be had from supervised networks without reinforcement learning.

- ``supervised``: one network, trained on all labelled training images.
- ``fold_ensemble``: the mean of the networks that cross-fitting trained, each without one fold.
- ``…_tta``: either with test-time augmentation, the mean over four mirrored views.
- ``distilled``: one network that learned the ensemble's soft maps of images without label, beside
  the truth of the labelled ones (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural
  network", 2015, arXiv:1503.02531).
- ``pseudo_labelled``: the same with the supervised network's own maps (Lee, "Pseudo-label", ICML
  workshops 2013; soft, as in Xie et al., "Self-training with noisy student", CVPR 2020,
  arXiv:1911.04252).
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.networks.architecture import weight_count
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.unet.network import FLIPS, SegmentationNetwork, ensemble

FOLD = "fold_"
"""Begins the names of the networks that cross-fitting trained."""
STUDENTS = ("distilled", "pseudo_labelled")
"""Networks that learned from others' maps too."""
TTA = "_tta"
"""Ends the names of rivals with test-time augmentation."""


def networks_of(rival: str, names: list[str]) -> list[str]:
    """Which of the trained networks a rival asks."""
    alone = rival.removesuffix(TTA)
    return [name for name in names if name.startswith(FOLD)] if "ensemble" in alone else [alone]


def rival_map(
    rival: str, networks: Mapping[str, SegmentationNetwork], image: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[Any]]:
    """A rival's map of one image.

    Args:
        rival: one of `vesselrl.segmenters.unet.parameters.RIVALS`.
        networks: the trained ones, by name.
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        ``levels`` uint8 (H, W), see `vesselrl.segmenters.levels`; ``seconds`` float64 (), what it
        took.
    """
    asked = [networks[name] for name in networks_of(rival, list(networks))]
    started = time.perf_counter()
    probability = ensemble(asked, image, flips=rival.endswith(TTA))
    return {"levels": to_levels(probability), "seconds": np.array(time.perf_counter() - started)}


def rival_facts(
    rival: str, networks: Mapping[str, SegmentationNetwork], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What it takes to have a rival.

    Args:
        rival: one of `vesselrl.segmenters.unet.parameters.RIVALS`.
        networks: the trained ones, by name.
        seconds: name → what its training took.

    Returns:
        ``files`` (names, those of its networks), ``parameters`` (trained, of all of them),
        ``passes`` (through a network, an image), ``training_seconds`` (networks trained side by
        side end with the slowest; a student comes after its teachers).
    """
    names = list(networks)
    asked = networks_of(rival, names)
    teachers = ["supervised", *networks_of("fold_ensemble", names)] if rival in STUDENTS else []
    before = max((seconds[name] for name in teachers), default=0.0)
    return {
        "files": [f"{name}.safetensors" for name in asked],
        "parameters": weight_count(networks[name].module for name in asked),
        "passes": len(asked) * (len(FLIPS) if rival.endswith(TTA) else 1),
        "training_seconds": round(before + max(seconds[name] for name in asked), 3),
    }
