"""Draws the embedded sample data: synthetic angiograms and their annotations."""

from vesselrl.pipelines.sample.pipeline import create_pipeline

__all__ = ["create_pipeline"]
