"""What the comparison of methods is judged by (``conf/base/parameters_report.yml``)."""

from typing import Annotated, Literal

from pydantic import Field

from vesselrl.parameters import ParameterModel

Score = Literal["dice", "recall", "precision", "iou", "cldice"]


class ReportParameters(ParameterModel):
    """The objective, the targets and the statistics of the verdict."""

    objective: Annotated[tuple[Score, ...], Field(min_length=1)] = ("dice", "recall")
    """Methods are ranked by the mean of these scores."""
    targets: dict[Score, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"dice": 0.85, "recall": 0.85}
    )
    """What the mean over the test images should reach."""
    baseline: str = "default"
    """The method that costs nothing to have; differences are measured from it."""
    not_deployable: tuple[str, ...] = ("random", "oracle")
    """Shown but never recommended: a control, and methods that use the ground truth."""
    bootstrap_resamples: Annotated[int, Field(ge=100)] = 10_000
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Confidence intervals cover 1 − alpha; a Holm-corrected p below alpha is significant."""
