"""Reinforcement learning, one pipeline instantiated once an experiment, and its plain rivals."""

from vesselrl.pipelines.experiments.pipeline import create_pipeline, create_regressors

__all__ = ["create_pipeline", "create_regressors"]
