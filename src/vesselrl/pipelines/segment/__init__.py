"""The frozen segmenter asked every prompt about every image, once."""

from vesselrl.pipelines.segment.pipeline import create_pipeline

__all__ = ["create_pipeline"]
