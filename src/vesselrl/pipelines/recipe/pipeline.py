"""Wiring of the pipeline ``recipe``."""

from kedro.pipeline import Pipeline, node

from vesselrl.evaluation.parameters import NETWORKS
from vesselrl.pipelines.recipe import nodes
from vesselrl.prediction.parameters import UNPREDICTABLE
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS


def create_pipeline() -> Pipeline:
    """What was trained, and the verdict → the chosen method → calibrated and checked."""
    return Pipeline(
        [
            node(
                nodes.write_recipe,
                {
                    "verdict": "verdict",
                    "static_setting": "static_setting",
                    "operating_points": "operating_points",
                    "reward_network": "reward_network",
                    "finished_policies": "finished_policies",
                    "method": "params:predict.method",
                    "rating": "params:predict.rating",
                    "evaluation": "params:evaluation",
                    "segmenter": "params:segmenter",
                    "actions": "params:actions",
                    "objective": "params:report.objective",
                    **{name: f"{name}.policies" for name in (*EXPERIMENTS, *REGRESSORS)},
                    **{
                        f"{pipeline}{nodes.NETWORKS}": f"{pipeline}.networks_in_use"
                        for pipeline, networks in NETWORKS.items()
                        if not UNPREDICTABLE.keys() >= set(networks)
                    },
                },
                "uncalibrated_recipe",
                name="write_recipe",
            ),
            node(
                nodes.try_recipe,
                [
                    "uncalibrated_recipe",
                    "images",
                    "masks",
                    "candidates",
                    "samples",
                    "params:segmenter",
                ],
                "recipe_trials",
                name="try_recipe",
            ),
            node(
                nodes.calibrate_recipe,
                [
                    "uncalibrated_recipe",
                    "recipe_trials",
                    "images",
                    "samples",
                    "params:segmenter",
                    "params:predict.coverage",
                ],
                "recipe",
                name="calibrate_recipe",
            ),
            node(
                nodes.check_recipe,
                ["recipe", "recipe_trials", "params:segmenter"],
                "recipe_check",
                name="check_recipe",
            ),
        ],
        tags="only_if_changed",  # see vesselrl.runner
    )
