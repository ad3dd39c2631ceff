"""Wiring of the pipeline ``report``."""

from kedro.pipeline import Pipeline, node

from vesselrl.evaluation.parameters import NETWORKS
from vesselrl.pipelines.report import figure_nodes, nodes
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS


def create_pipeline() -> Pipeline:
    """Scores per image → leaderboard → verdict → figures → the report as HTML and Markdown."""
    trained = (*EXPERIMENTS, *REGRESSORS)
    network_facts = {f"{name}{nodes.FACTS}": f"{name}.network_facts" for name in NETWORKS}
    return Pipeline(
        [
            node(
                nodes.compare_methods,
                {
                    "metrics_per_image": "metrics_per_image",
                    "evaluation": "params:evaluation",
                    "report": "params:report",
                    "seed": "params:seed",
                    **network_facts,
                },
                "leaderboard",
                name="compare_methods",
            ),
            node(
                nodes.give_verdict,
                ["metrics_per_image", "leaderboard", "params:report", "params:seed"],
                "verdict",
                name="give_verdict",
            ),
            node(
                figure_nodes.draw_comparison,
                ["metrics_per_image", "leaderboard", "verdict", "params:report"],
                ["leaderboard_figure", "paired_figure", "cost_figure"],
                name="draw_comparison",
            ),
            node(
                nodes.count_costs,
                {
                    "choices": "choices",
                    "segment_timing": "segment_timing",
                    "action_scores": "action_scores",
                    "reward_network": "reward_network",
                    "reward_history": "reward_history",
                    "evaluation": "params:evaluation",
                    "parameters": "parameters",
                    "seed": "params:seed",
                    **network_facts,
                    **{f"{name}_policies": f"{name}.policies" for name in trained},
                    **{f"{name}_infos": f"{name}.training_infos" for name in trained},
                },
                "costs",
                name="count_costs",
            ),
            node(
                nodes.measure_thresholds,
                ["candidates", "masks", "samples", "static_setting", "params:segmenter"],
                "threshold_curves",
                name="measure_thresholds",
                tags="early",
            ),
            node(
                figure_nodes.draw_thresholds,
                ["threshold_curves", "leaderboard", "verdict"],
                "thresholds_figure",
                name="draw_thresholds",
            ),
            node(
                nodes.gather_histories,
                {name: f"{name}.histories" for name in EXPERIMENTS},
                "learning_curves",
                name="gather_histories",
            ),
            node(
                figure_nodes.draw_training,
                "learning_curves",
                "curves_figure",
                name="draw_learning_curves",
            ),
            node(
                figure_nodes.draw_examples,
                ["images", "masks", "predictions", "metrics_per_image", "verdict", "params:report"],
                "gallery_figure",
                name="draw_examples",
            ),
            node(
                nodes.write_report,
                {
                    **{
                        name: name
                        for name in (
                            "samples",
                            "ingest_report",
                            "quarantine",
                            "segment_failures",
                            "metrics_per_image",
                            "leaderboard",
                            "verdict",
                            "costs",
                            "choices",
                            "methods_not_run",
                            "learning_curves",
                            "reward_net_report",
                            "recipe_check",
                            "ingest_overview",
                            "reward_net_figure",
                            "reward_error_maps_figure",
                            "reward_hacks_figure",
                            "leaderboard_figure",
                            "paired_figure",
                            "curves_figure",
                            "thresholds_figure",
                            "gallery_figure",
                            "cost_figure",
                            "parameters",
                        )
                    },
                    "pixel_infos": "pixel_rl.training_infos",
                    "pixel_training_figure": "pixel_rl.training_figure",
                    "pixel_dice_figure": "pixel_rl_dice_figure",
                    "pixel_gallery_figure": "pixel_rl_gallery_figure",
                    "evaluation": "params:evaluation",
                    "report": "params:report",
                    **{name: f"{name}.training_infos" for name in EXPERIMENTS},
                },
                ["final_report_html", "final_report_md"],
                name="write_report",
            ),
        ]
    )
