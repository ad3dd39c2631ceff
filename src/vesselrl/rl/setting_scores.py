"""What the judges say of every setting of an image."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.network import RewardNetwork, mean_candidate
from vesselrl.reward.rivals import rival_scores
from vesselrl.reward.scalar import ScalarJudge
from vesselrl.reward.scenes import Scene, SceneLoader
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.parameters import Judge

Timed = tuple[Scene, float]
"""A scene, and the seconds that something about it took."""


@dataclass(frozen=True)
class SettingScores:
    """What both judges say of every setting of one image."""

    actions: ActionSet

    def __call__(self, timed: Timed) -> dict[str, Scores]:
        """Judge all settings.

        Args:
            timed: the scene, and the seconds that its making took.

        Returns:
            ``true_dice``, ``true_recall``, ``true_precision``, ``predicted_dice``,
            ``predicted_recall``, ``predicted_precision``, each float64 (A,), in the order of
            `ActionSet.settings`; ``seconds``, float64 (), of one core with the scene's.
        """
        scene, seconds = timed
        started = time.perf_counter()
        parts = []
        for masks in self.actions.masks_by_prompt(scene.probabilities):
            true, predicted = scene.true_scores(masks), scene.predicted_scores(masks)
            parts.append(_prefixed("true_", true) | _prefixed("predicted_", predicted))
        scores = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return scores | {"seconds": np.array(seconds + time.perf_counter() - started)}


@dataclass(frozen=True)
class ReportCardScores:
    """What the report card compares of one image: true, predicted and rivals' scores of settings.

    Attributes:
        actions: prompts, thresholds, operations.
        judges: name → a scalar judge, a rival of the reward network.
    """

    actions: ActionSet
    judges: Mapping[str, ScalarJudge]

    def __call__(self, timed: Timed) -> dict[str, Scores]:
        """Judge all settings.

        Args:
            timed: the scene, and the seconds of the network's passes.

        Returns:
            ``true_dice``, ``true_recall``, ``true_precision``, ``predicted_dice``,
            ``predicted_recall``, ``predicted_precision``; ``raw_dice``, ``raw_recall``,
            ``raw_precision``, before their lines; ``disagreement``, the standard deviation of the
            members' Dice; ``rival_<name>``, what rivals say, see `vesselrl.reward.rivals`. Each
            float64 (A,), in the order of `ActionSet.settings`. And what a user would wait for,
            float64 (): ``opinion_seconds``, the network's passes, and ``judging_seconds``, making
            and judging all masks on one core.
        """
        scene, opinion_seconds = timed
        judging = 0.0
        parts = []
        judged = time.perf_counter()
        for probability, masks in zip(
            scene.probabilities, self.actions.masks_by_prompt(scene.probabilities), strict=True
        ):
            expected = expected_scores(masks, scene.opinions)
            raw = {key: scene.scoring.aggregated(scores) for key, scores in expected.items()}
            judging += time.perf_counter() - judged
            rivals = rival_scores(masks, probability, scene.probabilities)
            rivals |= {key: judge.scores(scene.image, masks) for key, judge in self.judges.items()}
            parts.append(
                {
                    **_prefixed("true_", scene.true_scores(masks)),
                    **_prefixed("predicted_", scene.scoring.calibrated(raw)),
                    **_prefixed("raw_", raw),
                    "disagreement": expected["dice"].std(1),
                    **_prefixed("rival_", rivals),
                }
            )
            judged = time.perf_counter()
        return {
            **{key: np.concatenate([part[key] for part in parts]) for key in parts[0]},
            "opinion_seconds": np.array(opinion_seconds),
            "judging_seconds": np.array(judging),
        }


def _prefixed(prefix: str, scores: Mapping[str, Scores]) -> dict[str, Scores]:
    return {prefix + key: values for key, values in scores.items()}


def with_seconds(load: SceneLoader, sample: str) -> Timed:
    """A scene, and the seconds that its making took."""
    started = time.perf_counter()
    scene = load(sample)
    return scene, time.perf_counter() - started


def with_opinion_seconds(load: SceneLoader, network: RewardNetwork, sample: str) -> Timed:
    """A scene, and the seconds of the network's passes."""
    scene = load(sample)
    # Once more, to be timed: where the scene was made, a device may have had to start first.
    started = time.perf_counter()
    network.opinions(scene.image, mean_candidate(scene.probabilities))
    return scene, time.perf_counter() - started


def objective_by(judge: Judge, scores: Mapping[str, Scores], objective: Sequence[str]) -> Scores:
    """The mean of the objective's scores in a judge's eyes, float64 (A,)."""
    by = "true_" if judge == "ground_truth" else "predicted_"
    worth: Scores = objective_of(scores, objective, by)
    return worth
