"""Wiring of the pipeline ``evaluation``."""

from kedro.pipeline import Pipeline, node

from vesselrl.evaluation.parameters import NETWORKS
from vesselrl.pipelines.evaluation import nodes
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS


def create_pipeline() -> Pipeline:
    """Best static setting and thresholds, given masks → what each method decides → its scores."""
    network_maps = {f"{pipeline}{nodes.MAPS}": f"{pipeline}.network_maps" for pipeline in NETWORKS}
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
                nodes.choose_operating_points,
                {
                    "masks": "masks",
                    "samples": "samples",
                    "objective": "params:report.objective",
                    **network_maps,
                },
                "operating_points",
                name="choose_operating_points",
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
                    "operating_points": "operating_points",
                    "samples": "samples",
                    "evaluation": "params:evaluation",
                    "segmenter": "params:segmenter",
                    "actions": "params:actions",
                    "objective": "params:report.objective",
                    "seed": "params:seed",
                    **{name: f"{name}.policies" for name in (*EXPERIMENTS, *REGRESSORS)},
                    **network_maps,
                },
                ["choices", "methods_not_run"],
                name="decide",
            ),
            node(
                nodes.draw_predictions,
                {
                    "choices": "choices",
                    "images": "images",
                    "candidates": "candidates",
                    "reward_network": "reward_network",
                    "imported_masks": "imported_masks",
                    "evaluation": "params:evaluation",
                    "segmenter": "params:segmenter",
                    "actions": "params:actions",
                    **network_maps,
                },
                "predictions",
                name="draw_predictions",
            ),
            node(
                nodes.score_predictions,
                ["choices", "predictions", "masks", "samples", "params:evaluation.metrics"],
                "metrics_per_image",
                name="score_predictions",
            ),
        ]
    )
