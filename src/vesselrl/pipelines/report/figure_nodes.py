"""Nodes of the pipeline ``report`` that draw its figures."""

from collections.abc import Mapping
from typing import Any

from vesselrl.pipelines import Partitions
from vesselrl.report.parameters import ReportParameters


def draw_comparison(
    metrics_per_image: Any, leaderboard: Any, verdict: Mapping[str, Any], report: ReportParameters
) -> tuple[Any, Any, Any]:
    """The leaderboard, the paired differences, and quality against cost, each a Figure."""
    from vesselrl.report import charts

    recommended = verdict["recommended"]
    return (
        charts.draw_leaderboard(leaderboard, recommended, report),
        charts.draw_paired_differences(metrics_per_image, leaderboard, recommended, report),
        charts.draw_cost(leaderboard, recommended, report),
    )


def draw_thresholds(threshold_curves: Any, leaderboard: Any, verdict: Mapping[str, Any]) -> Any:
    """The scores over thresholds and the point of each method, a Figure."""
    from vesselrl.report import thresholds

    return thresholds.draw_thresholds(threshold_curves, leaderboard, verdict["recommended"])


def draw_training(learning_curves: Any) -> Any:
    """The learning curves, a Figure."""
    from vesselrl.report.curves import draw_learning_curves

    return draw_learning_curves(learning_curves)


def draw_examples(
    images: Partitions,
    masks: Partitions,
    predictions: Partitions,
    metrics_per_image: Any,
    verdict: Mapping[str, Any],
    report: ReportParameters,
) -> Any:
    """Best, median and worst image of the recommended method beside the baseline, a Figure.

    Where the baseline itself is recommended, the best method stands beside it.
    """
    from vesselrl.report.comparison import image_scores
    from vesselrl.report.gallery import draw_gallery

    columns = dict.fromkeys((verdict["recommended"], report.baseline, verdict["best"]))
    scores = image_scores(metrics_per_image, report.objective)
    return draw_gallery(images, masks, predictions, scores, list(columns)[:2])
