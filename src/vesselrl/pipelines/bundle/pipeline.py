"""Wiring of the pipeline ``bundle``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.bundle import nodes


def create_pipeline() -> Pipeline:
    """The method's recipe and its scores → one folder that predicts without this project."""
    return Pipeline(
        [
            node(
                nodes.make_bundle,
                [
                    "recipe",
                    "recipe_check",
                    "samples",
                    "leaderboard",
                    "verdict",
                    "params:segmenter",
                    "params:bundling",
                    "params:report",
                    "parameters",
                ],
                "bundle",
                name="make_bundle",
            ),
        ]
    )
