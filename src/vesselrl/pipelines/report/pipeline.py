"""The leaderboard and the verdict from scores per image; figures; the report from all of it."""

from typing import Any

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.report import nodes
from vesselrl.report.render import render_html, render_markdown

EXPERIMENTS = ("prompt_rl", "postprocess_rl", "reward_rl")


def create_pipeline(**kwargs: Any) -> Pipeline:
    """The pipeline ``report``."""
    return Pipeline(
        [
            node(
                nodes.compare_methods,
                ["metrics_per_image", "params:evaluation", "params:report", "params:seed"],
                "leaderboard",
            ),
            node(
                nodes.decide,
                ["metrics_per_image", "leaderboard", "params:report", "params:seed"],
                "verdict",
            ),
            node(
                nodes.draw_comparison,
                ["metrics_per_image", "leaderboard", "verdict", "params:report"],
                ["leaderboard_figure", "paired_figure", "cost_figure"],
            ),
            node(
                nodes.gather_histories,
                {experiment: f"{experiment}.history" for experiment in EXPERIMENTS},
                "learning_curves",
            ),
            node(
                nodes.gather_training_infos,
                {experiment: f"{experiment}.training_info" for experiment in EXPERIMENTS},
                "training_infos",
            ),
            node(nodes.draw_training, "learning_curves", "curves_figure"),
            node(
                nodes.draw_examples,
                ["images", "masks", "predictions", "metrics_per_image", "verdict", "params:report"],
                "gallery_figure",
            ),
            node(
                nodes.compose,
                [
                    "samples",
                    "ingest_report",
                    "quarantine",
                    "segment_failures",
                    "leaderboard",
                    "verdict",
                    "choices",
                    "methods_not_run",
                    "learning_curves",
                    "training_infos",
                    "reward_net_report",
                    "leaderboard_figure",
                    "paired_figure",
                    "curves_figure",
                    "gallery_figure",
                    "cost_figure",
                    "params:evaluation",
                    "params:report",
                    "parameters",
                ],
                "report_document",
            ),
            node(render_html, "report_document", "final_report_html"),
            node(render_markdown, "report_document", "final_report_md"),
        ]
    )
