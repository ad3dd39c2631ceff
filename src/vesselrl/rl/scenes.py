"""A scene: all that is known of one image when a mask of it is to be made and judged."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import Scores, overlap_scores
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.network import RewardNetwork, mean_candidate
from vesselrl.reward.rivals import rival_scores
from vesselrl.reward.scalar import ScalarJudge
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.operations import Mask, Probability
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
        network: the judge.
        opinions: float32 (M, H, W), where its members believe the truth to be, given the image and
            the mean of all prompts' maps.
    """

    image: npt.NDArray[np.uint8]
    probabilities: Probability
    truth: Mask
    network: RewardNetwork
    opinions: npt.NDArray[np.float32]

    @classmethod
    def of(
        cls,
        image: npt.NDArray[np.uint8],
        probabilities: Probability,
        truth: Mask,
        network: RewardNetwork,
    ) -> "Scene":
        """Ask the reward network once; any number of masks can then be judged."""
        opinions = network.opinions(image, mean_candidate(probabilities))
        return cls(image, probabilities, truth, network, opinions)

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
        return self.network.scores(masks, self.opinions)


class SceneLoader:
    """Makes scenes from the catalog's partitions; those used last are kept, see `CACHE_BYTES`."""

    def __init__(
        self, images: Partitions, masks: Partitions, candidates: Partitions, network: RewardNetwork
    ) -> None:
        def load(sample: str) -> Scene:
            return Scene.of(
                image=images[sample](),
                probabilities=from_levels(candidates[sample]()["levels"]),
                truth=masks[sample](),
                network=network,
            )

        self._load = load
        self._kept: OrderedDict[str, Scene] = OrderedDict()
        self._bytes = 0

    def __call__(self, sample: str) -> Scene:
        """The scene of a sample id."""
        if sample in self._kept:
            self._kept.move_to_end(sample)
            return self._kept[sample]
        scene = self._kept[sample] = self._load(sample)
        self._bytes += scene.nbytes
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return scene

    def forget(self) -> None:
        """Let all scenes go: what was given this loader may be in memory for longer than needed."""
        self._kept.clear()
        self._bytes = 0


def score_settings(
    load: SceneLoader, sample: str, actions: ActionSet, judges: Mapping[str, ScalarJudge]
) -> dict[str, Scores]:
    """True and predicted scores of every setting of one image.

    Args:
        load: makes the scene.
        sample: id of the image.
        actions: prompts, thresholds, operations.
        judges: name → a scalar judge, a rival of the reward network.

    Returns:
        ``true_dice``, ``true_recall``, ``true_precision``, ``predicted_dice``,
        ``predicted_recall``, ``predicted_precision``; ``raw_dice``, ``raw_recall``,
        ``raw_precision``, before their lines; ``disagreement``, the standard deviation of the
        members' Dice; ``rival_<name>``, what rivals say, see `vesselrl.reward.rivals`. Each
        float64 (A,), in the order of `ActionSet.settings`. And what a user would wait for,
        float64 (): ``opinion_seconds``, the network's passes, and ``judging_seconds``, making and
        judging all masks.
    """
    scene = load(sample)
    network = scene.network
    started = time.perf_counter()
    network.opinions(scene.image, mean_candidate(scene.probabilities))
    asked = time.perf_counter()
    judging = 0.0
    parts = []
    judged = time.perf_counter()
    for probability, masks in zip(
        scene.probabilities, actions.masks_by_prompt(scene.probabilities), strict=True
    ):
        expected = expected_scores(masks, scene.opinions)
        raw = {key: network.aggregated(scores) for key, scores in expected.items()}
        judging += time.perf_counter() - judged
        rivals = rival_scores(masks, probability, scene.probabilities)
        rivals |= {name: judge.scores(scene.image, masks) for name, judge in judges.items()}
        parts.append(
            {
                **{f"true_{key}": scores for key, scores in scene.true_scores(masks).items()},
                **{f"predicted_{key}": s for key, s in network.calibrated(raw).items()},
                **{f"raw_{key}": scores for key, scores in raw.items()},
                "disagreement": expected["dice"].std(1),
                **{f"rival_{name}": scores for name, scores in rivals.items()},
            }
        )
        judged = time.perf_counter()
    return {
        **{key: np.concatenate([part[key] for part in parts]) for key in parts[0]},
        "opinion_seconds": np.array(asked - started),
        "judging_seconds": np.array(judging),
    }
