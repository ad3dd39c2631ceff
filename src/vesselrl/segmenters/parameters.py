"""Parameters of the segmenter (``conf/base/parameters_segment.yml``)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vesselrl.parameters import ParameterModel


class FilterPrompt(ParameterModel):
    """What a segmenter made of filters looks for when asked a prompt."""

    scales: list[Annotated[float, Field(ge=0.5, le=20)]] = Field(
        min_length=1,
        description="in pixels; ridge: sigma of the filters, near half a vessel's width; tophat: "
        "half the length of the lines, a vessel's width or more",
    )
    fraction: float = Field(
        gt=0,
        lt=0.5,
        description="share of the field of view above 0.5, before small regions go",
    )
    min_size: int = Field(
        ge=0, description="at any threshold, connected regions of fewer pixels are left out"
    )


class SegmenterParameters(ParameterModel):
    """The group ``segmenter``."""

    kind: Literal["ridge", "tophat"]
    default_prompt: str = Field(description="the prompt of a user who chooses nothing")
    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    prompts: dict[str, FilterPrompt] = Field(min_length=1, description="in the order of the maps")

    @model_validator(mode="after")
    def _default_is_a_prompt(self) -> "SegmenterParameters":
        if self.default_prompt not in self.prompts:
            raise ValueError(
                f"default_prompt is '{self.default_prompt}', which is not among the prompts: "
                f"{', '.join(self.prompts)}"
            )
        return self
