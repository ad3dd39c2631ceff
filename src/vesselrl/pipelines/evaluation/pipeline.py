"""Wiring of the pipeline ``evaluation``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.evaluation import nodes
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS


def create_pipeline() -> Pipeline:
    """Best static setting, imported masks → what each method decides → its masks → its scores."""
    return Pipeline(
        [
            node(
                nodes.choose_static_setting,
                [
                    "action_scores",
                    "samples",
                    "params:segmenter",
                    "params:actions",
                    "params:report.objective",
                ],
                "static_setting",
                name="choose_static_setting",
                tags="early",
            ),
            node(
                nodes.import_masks,
                ["imported_results", "file_names", "samples", "params:ingest.max_pixels"],
                "imported_masks",
                name="import_masks",
                tags="early",
            ),
            node(
                nodes.decide,
                {
                    "images": "images",
                    "candidates": "candidates",
                    "action_scores": "action_scores",
                    "static_setting": "static_setting",
                    "reward_network": "reward_network",
                    "finished_policies": "finished_policies",
                    "imported_masks": "imported_masks",
                    "samples": "samples",
                    "evaluation": "params:evaluation",
                    "segmenter": "params:segmenter",
                    "actions": "params:actions",
                    "objective": "params:report.objective",
                    "seed": "params:seed",
                    **{name: f"{name}.policies" for name in (*EXPERIMENTS, *REGRESSORS)},
                },
                ["choices", "methods_not_run"],
                name="decide",
            ),
            node(
                nodes.draw_predictions,
                [
                    "choices",
                    "images",
                    "candidates",
                    "reward_network",
                    "imported_masks",
                    "params:segmenter",
                    "params:actions",
                ],
                "predictions",
                name="draw_predictions",
            ),
            node(
                nodes.score_predictions,
                ["choices", "predictions", "masks", "samples"],
                "metrics_per_image",
                name="score_predictions",
            ),
        ]
    )
