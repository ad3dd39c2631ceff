"""RL on the weights of our own segmenter, and its cheap rival without RL."""

from vesselrl.pipelines.pixel_rl.pipeline import create_pipeline

__all__ = ["create_pipeline"]
