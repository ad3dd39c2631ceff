"""Masks of one validation image with their true scores: what the network has to predict."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.reward.calibration import Evidence, Line, PlattScaling
from vesselrl.reward.closed_form import Probability, expected_scores
from vesselrl.reward.examples import Example, Loader
from vesselrl.reward.network import RewardNetwork, mean_candidate
from vesselrl.reward.qualities import THRESHOLDS
from vesselrl.reward.report_card import within_image_tau
from vesselrl.reward.scoring import SCORES
from vesselrl.segmenters.levels import from_levels

ENOUGH = 500
"""Images that the two numbers of a `PlattScaling` are fitted to, at most: the `Evidence` of all is
in memory at once."""


@dataclass(frozen=True)
class Ranking:
    """The segmenter's maps of an example, cut at every threshold.

    Attributes:
        image: uint8 (h, w).
        candidate: float32 (h, w) in [0, 1].
        masks: bool (N, h, w).
        true: ``dice``, ``recall``, ``precision``, each float64 (N,).
    """

    image: npt.NDArray[np.uint8]
    candidate: Probability
    masks: npt.NDArray[np.bool_]
    true: dict[str, Scores]

    @classmethod
    def of(cls, example: Example) -> "Ranking":
        """The ranking of one example."""
        maps = from_levels(example["maps"][example["sources"] == ""])
        masks = np.concatenate([maps > threshold for threshold in THRESHOLDS])
        truth = example["truth"].astype(np.float32) / np.float32(255)
        true = {key: score[:, 0] for key, score in expected_scores(masks, truth[None]).items()}
        return cls(example["image"], mean_candidate(maps), masks, true)

    def raw_scores(self, network: RewardNetwork) -> dict[str, Scores]:
        """What a network predicts, before calibration."""
        return network.scoring.raw_scores(self.masks, network.opinions(self.image, self.candidate))


def ranking_tau(
    network: RewardNetwork, validation: Iterable[Loader], objective: Sequence[str]
) -> float:
    """`within_image_tau` of the objective on validation images; one is in memory at a time."""
    rankings = (Ranking.of(load()) for load in validation)
    return within_image_tau(
        (objective_of(r.raw_scores(network), objective), objective_of(r.true, objective))
        for r in rankings
    )


def calibrate(
    network: RewardNetwork, validation: Sequence[Loader], objective: Sequence[str]
) -> None:
    """Fit both corrections of a network to validation images; see `vesselrl.reward.calibration`.

    Args:
        network: not calibrated yet; its ``scaling`` and its scoring's lines are set.
        validation: loaders of the images' examples; at least one.
        objective: the scores whose mean is paid.
    """
    spread = validation[:: math.ceil(len(validation) / ENOUGH)]  # over all patients
    network.scaling = PlattScaling.fit(
        [
            Evidence.of(r.masks, network.opinions(r.image, r.candidate), r.true)
            for r in (Ranking.of(load()) for load in spread)
        ],
        objective,
    )
    pairs = [(r.raw_scores(network), r.true) for r in (Ranking.of(load()) for load in validation)]
    lines = {key: Line.fit([(raw[key], true[key]) for raw, true in pairs]) for key in SCORES}
    network.scoring = replace(network.scoring, lines=lines)
