"""Our own segmenter's first weights: learned from drawn angiograms, without any label."""

from vesselrl.pipelines.pretrain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
