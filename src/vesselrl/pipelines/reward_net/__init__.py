"""Reward examples, the reward network and its report card."""

from vesselrl.pipelines.reward_net.pipeline import create_pipeline

__all__ = ["create_pipeline"]
