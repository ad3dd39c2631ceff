"""The pipeline ``predict``: masks of images without labels."""

from vesselrl.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
