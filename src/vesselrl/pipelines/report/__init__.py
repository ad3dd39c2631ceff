"""From scores per image to the leaderboard, the verdict and the final report."""

from vesselrl.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
