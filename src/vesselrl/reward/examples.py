"""What a reward network learns from: candidates of every quality for one labelled image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from vesselrl.networks.imaging import grey, reduced
from vesselrl.reward.corruptions import corrupt
from vesselrl.reward.parameters import ExampleParameters
from vesselrl.segmenters.levels import from_levels, to_levels

Example = Mapping[str, npt.NDArray[Any]]
"""What `reward_examples` returns."""
Loader = Callable[[], Example]


def reward_examples(
    image: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.bool_],
    levels: npt.NDArray[np.uint8],
    parameters: ExampleParameters,
    rng: np.random.Generator,
) -> dict[str, npt.NDArray[Any]]:
    """The examples of one image, at the size the network works at (h, w).

    The segmenter's own maps show its honest errors; corruptions of the truth, softened as a
    segmenter's map is, show all the others, from perfect to useless.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        truth: bool (H, W).
        levels: uint8 (P, H, W), the stored maps of all prompts.
        parameters: working size and number of corruptions.
        rng: draws the corruptions.

    Returns:
        ``image`` uint8 (h, w), grey; ``truth`` uint8 (h, w), 255 where all of the pixel is vessel;
        ``maps`` uint8 (P + C, h, w), levels of prompts then corruptions; ``sources`` str
        (P + C,), names of the corruptions, empty for the segmenter's maps.
    """
    names, corrupted = [], []
    for _ in range(parameters.corruptions):
        name, mask = corrupt(truth, rng)
        names.append(name)
        corrupted.append(ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(0, 2)))
    maps = from_levels(levels)
    full = np.concatenate([maps, np.stack(corrupted)]) if corrupted else maps
    small = reduced(full, parameters.max_side)
    small_truth = reduced(truth.astype(np.float32), parameters.max_side)
    return {
        "image": np.round(reduced(grey(image), parameters.max_side) * 255).astype(np.uint8),
        "truth": np.round(small_truth * 255).astype(np.uint8),
        "maps": to_levels(np.clip(small, 0, 1)),
        "sources": np.array([""] * len(maps) + names),
    }


Seen = tuple[
    npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.uint8], np.random.Generator
]
"""Image, truth, levels and generator, see `reward_examples`."""


@dataclass(frozen=True)
class ExampleMaker:
    """Makes `reward_examples` of one image after the other, in whatever process.

    Attributes:
        parameters: working size and number of corruptions.
    """

    parameters: ExampleParameters

    def __call__(self, seen: Seen) -> dict[str, npt.NDArray[Any]]:
        """See `reward_examples`."""
        image, truth, levels, rng = seen
        return reward_examples(image, truth, levels, self.parameters, rng)
