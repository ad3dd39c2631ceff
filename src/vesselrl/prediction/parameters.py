"""Parameters of prediction (``conf/base/parameters_predict.yml``)."""

from typing import Literal

from pydantic import Field, field_validator

from vesselrl.parameters import ParameterModel
from vesselrl.rl.pixel.parameters import SA2VA_RL

UNPREDICTABLE = {
    "random": "its choices are drawn, not made",
    "oracle": "it chooses by the truth, which nobody knows of a new image",
    "imported": "its masks were made elsewhere",
    SA2VA_RL: "its adapters belong into the segmenter (segmenter.adapters), whose default prompt "
    "then answers as it does",
}
"""Kind of methods, or network, → why none of it can be applied to a new image."""
RECOMMENDED = "recommended"
"""In place of a method's name: the one that the report recommends."""

Format = Literal["labelme", "coco"]


Rating = Literal["needed", "all"]


class SeriesParameters(ParameterModel):
    """How frames of one series are dealt with, ``predict.series``."""

    folders: bool = Field(
        description="whether each folder within input_dir is a series of its files, in the order "
        "of the numbers in their names; files of several frames always are"
    )
    window: int = Field(
        ge=1,
        description="how many frames vote on what is chosen for one, an odd number; 1: no vote",
    )
    animation: Literal["gif", "mp4"] | None = Field(
        description="what is made of each series, its masks in contours; mp4 needs the extra video"
    )
    frames_per_second: float = Field(gt=0, le=100, description="of the animation")

    @field_validator("window")
    @classmethod
    def _has_a_middle(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError("expected an odd number: as many frames before as after the own one")
        return window


class ReviewParameters(ParameterModel):
    """The page on which predicted masks are checked, ``predict.review``."""

    share: float = Field(
        ge=0, le=1, description="of the images, those of the least predicted Dice, to be looked at"
    )


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
    series: SeriesParameters
    review: ReviewParameters
