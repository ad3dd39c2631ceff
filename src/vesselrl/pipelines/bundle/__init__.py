"""The pipeline ``bundle``."""

from vesselrl.pipelines.bundle.pipeline import create_pipeline

__all__ = ["create_pipeline"]
