"""Wiring of the pipeline ``segment``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.segment import nodes


def create_pipeline() -> Pipeline:
    """Images × prompts → candidates → failures, timing and an overview."""
    return Pipeline(
        [
            node(
                nodes.segment_images,
                ["images", "samples", "params:segmenter", "params:ray"],
                "candidates",
                name="segment_images",
            ),
            node(
                nodes.summarise_candidates,
                "candidates",
                ["segment_failures", "segment_timing"],
                name="summarise_candidates",
            ),
            node(
                nodes.draw_segment_overview,
                ["images", "masks", "candidates", "samples", "params:segmenter"],
                "segment_overview",
                name="draw_segment_overview",
            ),
        ]
    )
