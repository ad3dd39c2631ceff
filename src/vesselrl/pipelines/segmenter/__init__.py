"""Our own segmenter: networks trained on the labelled images, and what they teach each other."""

from vesselrl.pipelines.segmenter.pipeline import create_pipeline

__all__ = ["create_pipeline"]
