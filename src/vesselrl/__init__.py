"""Reward networks and reinforcement learning for vessel segmentation with promptable models."""

__version__ = "0.1.0"
