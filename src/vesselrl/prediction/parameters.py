"""Parameters of prediction (``conf/base/parameters_predict.yml``)."""

from typing import Literal

from pydantic import Field

from vesselrl.parameters import ParameterModel

RECOMMENDED = "recommended"
"""In place of a method's name: the one that the report recommends."""

Format = Literal["labelme", "coco"]


Rating = Literal["needed", "all"]


class PredictParameters(ParameterModel):
    """The group ``predict``."""

    method: str = Field(
        min_length=1, description=f"one of evaluation.methods, or {RECOMMENDED}: by the report"
    )
    coverage: float = Field(
        ge=0.5, lt=1, description="share of images whose Dice its interval should hold"
    )
    rating: Rating = Field(
        description="what the reward network is shown of the segmenter when it rates a mask: the "
        "answers that the method needs, or those to all prompts"
    )
    probability_maps: bool = Field(description="whether the maps that masks were cut from are kept")
    formats: list[Format] = Field(description="of annotations, beside annotations.json")
