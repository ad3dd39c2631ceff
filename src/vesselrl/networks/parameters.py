"""Parameters that the trainings of all our networks have in common."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vesselrl.parameters import ParameterModel

STRIDE = 16
"""MONAI's BasicUNet halves its input four times."""


class ArchitectureParameters(ParameterModel):
    """Size of a network."""

    features: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=6, max_length=6, description="MONAI BasicUNet's widths"
    )
    downscale: Literal[1, 2, 4] = Field(description="it works at this part of the resolution")


class NetworkParameters(ArchitectureParameters):
    """Size of a network, and of its training."""

    patch: int = Field(ge=64, description="side of the training crops, in pixels")
    batch: int = Field(ge=2)
    iterations: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    ema_decay: float = Field(ge=0, lt=1, description="of the averaged weights that are kept")

    @model_validator(mode="after")
    def _patch_fits(self) -> "NetworkParameters":
        stride = STRIDE * self.downscale
        if self.patch % stride:
            raise ValueError(
                f"patch is {self.patch}; with downscale {self.downscale} it must be a multiple of "
                f"{stride}"
            )
        return self
