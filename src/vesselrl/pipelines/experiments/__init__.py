"""Reinforcement learning: one pipeline, instantiated once an experiment."""

from vesselrl.pipelines.experiments.pipeline import create_pipeline

__all__ = ["create_pipeline"]
