"""A scene: all that is known of one image when a mask of it is to be made and judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import Scores, overlap_scores
from vesselrl.networks.residents import Residents
from vesselrl.reward.closed_form import Probability
from vesselrl.reward.network import RewardNetwork, mean_candidate
from vesselrl.reward.scoring import Scoring
from vesselrl.segmenters.levels import from_levels

Partitions = Mapping[str, Callable[[], Any]]
CACHE_BYTES = 2**30
"""Memory for scenes that are kept (about 5 MB each at 300 × 300 pixels and 11 prompts)."""


@dataclass(frozen=True)
class Scene:
    """One image with the segmenter's answers, the truth and the reward network's opinion.

    Attributes:
        image: uint8 (H, W) or (H, W, 3).
        probabilities: float32 (P, H, W), the maps of all prompts.
        truth: bool (H, W).
        opinions: float32 (M, H, W), where the reward network's members believe the truth to be,
            given the image and the mean of all prompts' maps.
        scoring: how they become scores.
    """

    image: npt.NDArray[np.uint8]
    probabilities: Probability
    truth: npt.NDArray[np.bool_]
    opinions: npt.NDArray[np.float32]
    scoring: Scoring

    @classmethod
    def of(
        cls,
        image: npt.NDArray[np.uint8],
        probabilities: Probability,
        truth: npt.NDArray[np.bool_],
        network: RewardNetwork,
    ) -> "Scene":
        """Ask the reward network once; any number of masks can then be judged."""
        opinions = network.opinions(image, mean_candidate(probabilities))
        return cls(image, probabilities, truth, opinions, network.scoring)

    @property
    def nbytes(self) -> int:
        """Memory that its arrays take."""
        arrays = (self.image, self.probabilities, self.truth, self.opinions)
        return sum(array.nbytes for array in arrays)

    def true_scores(self, masks: npt.NDArray[np.bool_]) -> dict[str, Scores]:
        """``dice``, ``recall``, ``precision`` of masks (N, H, W), each float64 (N,) in [0, 1]."""
        return overlap_scores(masks, self.truth)

    def predicted_scores(self, masks: npt.NDArray[np.bool_]) -> dict[str, Scores]:
        """The same without the truth: the reward network's calibrated scores."""
        return self.scoring.scores(masks, self.opinions)


class SceneLoader:
    """Makes scenes from the catalog's partitions.

    The last one used stays, and those before it as far as ``kept_bytes`` go: give `CACHE_BYTES`
    where scenes are asked for again and again.
    """

    def __init__(
        self,
        images: Partitions,
        masks: Partitions,
        candidates: Partitions,
        network: RewardNetwork,
        kept_bytes: int = 0,
    ) -> None:
        def load(sample: str) -> Scene:
            return Scene.of(
                image=images[sample](),
                probabilities=from_levels(candidates[sample]()["levels"]),
                truth=masks[sample](),
                network=network,
            )

        loaders = {sample: partial(load, sample) for sample in images}
        self._scenes = Residents(loaders, kept_bytes)

    def __call__(self, sample: str) -> Scene:
        """The scene of a sample id."""
        return self._scenes[sample]

    def forget(self) -> None:
        """Let all scenes go: what was given this loader may be in memory for longer than needed."""
        self._scenes.forget()
