"""Every method on the same test images: decisions, masks, scores."""

from vesselrl.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
