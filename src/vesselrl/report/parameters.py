"""What the comparison of methods is judged by (``conf/base/parameters_report.yml``)."""

from typing import Annotated, Literal

from pydantic import Field

from vesselrl.parameters import ParameterModel
from vesselrl.report.language import Language

Score = Literal["dice", "recall", "precision", "iou", "cldice"]
Payable = Literal["dice", "recall", "precision"]
"""Scores that the reward network estimates too, so that policies can be paid by them."""


class ReportParameters(ParameterModel):
    """The objective, the targets and the statistics of the verdict."""

    objective: Annotated[tuple[Payable, ...], Field(min_length=1)] = ("dice", "recall")
    """Policies are paid, settings chosen and methods ranked by the mean of these scores."""
    targets: dict[Score, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"dice": 0.85, "recall": 0.85}
    )
    """What the mean over the test images should reach."""
    language: Language = "en"
    """What the report is written in; figures and what other stages stored of errors are English."""
    baseline: str = "default"
    """The method that costs nothing to have; differences are measured from it."""
    bootstrap_resamples: Annotated[int, Field(ge=100)] = 10_000
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Confidence intervals cover 1 − alpha; a Holm-corrected p below alpha is significant."""
