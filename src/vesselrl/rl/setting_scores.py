"""What the judges say of every setting of an image."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.network import mean_candidate
from vesselrl.reward.rivals import rival_scores
from vesselrl.reward.scalar import ScalarJudge
from vesselrl.reward.scenes import Scene, SceneLoader
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.parameters import Judge


def setting_scores(scene: Scene, actions: ActionSet) -> dict[str, Scores]:
    """What both judges say of every setting of one image.

    Returns:
        ``true_dice``, ``true_recall``, ``true_precision``, ``predicted_dice``,
        ``predicted_recall``, ``predicted_precision``, each float64 (A,), in the order of
        `ActionSet.settings`.
    """
    parts = []
    for masks in actions.masks_by_prompt(scene.probabilities):
        judged = {"true": scene.true_scores(masks), "predicted": scene.predicted_scores(masks)}
        parts.append({f"{by}_{name}": s for by, said in judged.items() for name, s in said.items()})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def report_card_scores(
    load: SceneLoader, sample: str, actions: ActionSet, judges: Mapping[str, ScalarJudge]
) -> dict[str, Scores]:
    """What the report card compares of one image: true, predicted and rivals' scores of settings.

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
    # Once more, to be timed: where the scene was made, a device may have had to start first.
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


def objective_by(judge: Judge, scores: Mapping[str, Scores], objective: Sequence[str]) -> Scores:
    """The mean of the objective's scores in a judge's eyes, float64 (A,)."""
    by = "true_" if judge == "ground_truth" else "predicted_"
    worth: Scores = objective_of(scores, objective, by)
    return worth
