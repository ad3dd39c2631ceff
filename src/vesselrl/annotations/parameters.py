"""Parameters of reading and splitting the data (``conf/base/parameters_ingest.yml``)."""

import re
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from vesselrl.parameters import ParameterModel

MOST_BITS = 31
"""The largest distance of hashes that the search for near ones is exact for."""


class AnnotationsParameters(ParameterModel):
    """The group ``annotations``."""

    format: Literal["auto", "list", "coco", "labelme", "masks"] = Field(
        description="auto tells it from the content of raw_dir"
    )
    max_json_mb: float = Field(
        gt=0, description="larger JSON files are refused, but for a list, read entry by entry"
    )


class IngestParameters(ParameterModel):
    """The group ``ingest``."""

    strict: bool = Field(description="an entry that cannot be used stops the run")
    max_pixels: int = Field(
        ge=1, le=178_956_970, description="larger images are refused; at most Pillow's own limit"
    )
    unannotated: Literal["ignore", "unlabelled"] = Field(
        description="what images are that no entry names: nothing, or images without labels"
    )
    workers: PositiveInt | None = Field(
        default=None,
        exclude=True,  # it changes no result, so has no part in fingerprints
        description="processes that read and write images; null: one for each core",
    )


class SplitFractions(ParameterModel):
    """The share of the groups that each split should get; they sum to 1."""

    train: float = Field(gt=0, le=1)
    val: float = Field(ge=0, le=1)
    test: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> "SplitFractions":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, val and test sum to {total:g}; expected 1")
        return self


class SplitLimits(ParameterModel):
    """The most images of each split that are used; null is no limit."""

    train: PositiveInt | None
    val: PositiveInt | None
    test: PositiveInt | None
    unlabelled: PositiveInt | None


class SplitParameters(ParameterModel):
    """The group ``split``."""

    fractions: SplitFractions
    group_pattern: str | None = Field(description="regex on the file name, capturing the group")
    max_images: SplitLimits
    near_duplicate_bits: int = Field(
        ge=0,
        le=MOST_BITS,
        description="images whose hashes differ in at most so many of 256 bits look alike",
    )
    on_leak: Literal["warn", "move", "stop"] = Field(
        description="what to do where images of two groups look alike in different splits"
    )

    @field_validator("group_pattern")
    @classmethod
    def _has_one_capture(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                captures = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if captures != 1:
                raise ValueError(f"expected one capture, the group; found {captures}")
        return pattern


class Sa2vaDataParameters(ParameterModel):
    """The group ``sa2va_data`` (``conf/base/parameters_sa2va_data.yml``)."""

    phrase: str = Field(
        pattern=r"[^\s.]", description="what every mask shows, as the model is asked for it"
    )
