"""The training split in the form from which Sa2VA's official code fine-tunes a model."""

from vesselrl.pipelines.sa2va_data.pipeline import create_pipeline

__all__ = ["create_pipeline"]
