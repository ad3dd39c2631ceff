"""Wiring of the pipeline ``sa2va_data``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.sa2va_data import nodes


def create_pipeline() -> Pipeline:
    """Images and masks of the training split → data to fine-tune Sa2VA on."""
    return Pipeline(
        [
            node(
                nodes.write_training_data,
                ["images", "masks", "samples", "params:sa2va_data"],
                ["sa2va_images", "sa2va_annotations"],
                name="write_training_data",
            )
        ]
    )
