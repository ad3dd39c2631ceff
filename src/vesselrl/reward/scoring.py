"""From what the members of a reward network believe to the scores of masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from vesselrl.metrics.masks import Scores
from vesselrl.reward.calibration import Line
from vesselrl.reward.closed_form import Probability, expected_scores

SCORES = ("dice", "recall", "precision")
Aggregation = Literal["lower_bound", "min"]


@dataclass(frozen=True)
class Scoring:
    """How opinions become the reward; it needs no network.

    Attributes:
        aggregation: how the members' scores become one: ``lower_bound`` is mean - kappa * standard
            deviation, ``min`` the least.
        kappa: how many standard deviations ``lower_bound`` takes off, 0 or more.
        lines: for each of `SCORES`, from raw to true; by default scores stay raw.
    """

    aggregation: Aggregation
    kappa: float
    lines: Mapping[str, Line] = field(default_factory=lambda: dict.fromkeys(SCORES, Line()))

    def raw_scores(self, masks: npt.NDArray[np.bool_], opinions: Probability) -> dict[str, Scores]:
        """Conservative expected scores of masks, as `aggregation` says.

        Args:
            masks: bool (N, H, W).
            opinions: float32 (M, H, W), see `vesselrl.reward.network.RewardNetwork.opinions`.

        Returns:
            ``dice``, ``recall``, ``precision``, each float64 (N,); at most 1, and where members
            disagree a lower bound may fall below 0.
        """
        expected = expected_scores(masks, opinions)
        return {key: self.aggregated(scores) for key, scores in expected.items()}

    def aggregated(self, scores: Scores) -> Scores:
        """One score of those of the members, float64 (N, M) → (N,)."""
        if self.aggregation == "min":
            return scores.min(1)
        bound: Scores = scores.mean(1) - self.kappa * scores.std(1)
        return bound

    def scores(self, masks: npt.NDArray[np.bool_], opinions: Probability) -> dict[str, Scores]:
        """The reward: `raw_scores` after their lines, each float64 (N,) in [0, 1]."""
        return self.calibrated(self.raw_scores(masks, opinions))

    def calibrated(self, raw: Mapping[str, Scores]) -> dict[str, Scores]:
        """Each raw score through its own line."""
        return {key: self.lines[key](score) for key, score in raw.items()}
