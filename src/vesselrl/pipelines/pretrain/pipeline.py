"""Wiring of the pipeline ``pretrain``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.pretrain import nodes


def create_pipeline() -> Pipeline:
    """Drawn patients → a few to look at; → weights of the segmenter ``unet``."""
    return Pipeline(
        [
            node(
                nodes.draw_patients,
                "params:pretraining",
                "drawn_patients",
                name="draw_patients",
            ),
            node(
                nodes.draw_overview,
                "drawn_patients",
                "pretraining_overview",
                name="draw_pretraining_overview",
            ),
            node(
                nodes.pretrain,
                ["drawn_patients", "pretraining_checkpoints", "params:pretraining"],
                ["pretrained_weights", "pretraining_history"],
                name="pretrain",
            ),
        ]
    )
