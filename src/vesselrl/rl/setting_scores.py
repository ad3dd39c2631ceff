"""What the judges say of every setting of an image."""

from collections.abc import Mapping, Sequence

import numpy as np

from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.parameters import Judge
from vesselrl.rl.scenes import Scene


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


def objective_by(judge: Judge, scores: Mapping[str, Scores], objective: Sequence[str]) -> Scores:
    """The mean of the objective's scores in a judge's eyes, float64 (A,)."""
    by = "true_" if judge == "ground_truth" else "predicted_"
    worth: Scores = objective_of(scores, objective, by)
    return worth
