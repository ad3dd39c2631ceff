"""Annotations and images → masks, table of samples, splits, quarantine."""

from vesselrl.pipelines.ingest.pipeline import create_pipeline

__all__ = ["create_pipeline"]
