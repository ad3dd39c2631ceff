"""RL through the mask decoder of a Sa2VA model: adapters beside its frozen weights."""

from vesselrl.pipelines.sa2va_rl.pipeline import create_pipeline

__all__ = ["create_pipeline"]
