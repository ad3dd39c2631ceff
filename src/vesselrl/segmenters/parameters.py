"""Parameters of the segmenter (``conf/base/parameters_segment.yml``)."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from vesselrl.extensions import built_in_or_extension, known_or_extension
from vesselrl.parameters import Devices, ParameterModel


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
    """The group ``segmenter``: what every kind has.

    What is validated as this model becomes the model of its ``kind`` (``MODELS``); code makes that
    one itself. A field of this type is written ``SerializeAsAny[SegmenterParameters]``, else
    pydantic would leave out of its dump what the kind adds.
    """

    kind: str
    default_prompt: str = Field(description="the prompt of a user who chooses nothing")
    devices: Devices = None
    prompts: Mapping[str, ParameterModel] = Field(
        min_length=1, description="name → what is asked, in the order of the maps"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _as_the_model_of_its_kind(
        cls, values: Any, validate: ModelWrapValidatorHandler[Self]
    ) -> Any:
        if cls is not SegmenterParameters or not isinstance(values, Mapping):
            return validate(values)
        kind = known_or_extension("kind", str(values.get("kind")), "Parameters", tuple(MODELS))
        return parameters_class(kind).model_validate(values)

    def learned_from(self) -> list[str]:
        """The groups that the segmenter is known to have learned from, by their hashes."""
        return []

    @model_validator(mode="after")
    def _default_is_a_prompt(self) -> Self:
        if self.default_prompt not in self.prompts:
            raise ValueError(
                f"default_prompt is '{self.default_prompt}', which is not among the prompts: "
                f"{', '.join(self.prompts)}"
            )
        return self


class FilterParameters(SegmenterParameters):
    """Of the segmenters made of filters."""

    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    prompts: dict[str, FilterPrompt] = Field(min_length=1)


MODELS = {
    "ridge": "vesselrl.segmenters.parameters:FilterParameters",
    "tophat": "vesselrl.segmenters.parameters:FilterParameters",
    "unet": "vesselrl.segmenters.unet.parameters:UnetParameters",
    "sa2va": "vesselrl.segmenters.sa2va.parameters:Sa2vaParameters",
}
"""Kind → the parameters it has, as ``module:name``: those of the others are not imported. Others:
extensions."""


def parameters_class(kind: str) -> type[SegmenterParameters]:
    """The parameters that a kind of segmenter has."""
    model: type[SegmenterParameters] = built_in_or_extension(MODELS, kind, "Parameters")
    return model
