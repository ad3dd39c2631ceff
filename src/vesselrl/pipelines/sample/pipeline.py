"""Synthetic angiograms and their annotations, drawn from a seed."""

from typing import Any

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.sample import nodes


def create_pipeline(**kwargs: Any) -> Pipeline:
    """The pipeline ``sample``."""
    return Pipeline(
        [node(nodes.draw_sample, "params:sample", ["sample_images", "sample_annotations"])]
    )
