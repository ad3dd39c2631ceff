"""The pipeline ``recipe``: the chosen method, ready for images without labels."""

from vesselrl.pipelines.recipe.pipeline import create_pipeline

__all__ = ["create_pipeline"]
