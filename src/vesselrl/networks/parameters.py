"""Parameters that the trainings of all our networks have in common."""

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from vesselrl.parameters import ParameterModel

if TYPE_CHECKING:
    from vesselrl.networks.augmentation import Augmentation

Norm = Literal["batch", "instance"]
"""By batches, or each image by itself."""
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


class AugmentationParameters(ParameterModel):
    """How much training squares are changed; every number is the most."""

    angle: float = Field(ge=0, le=180, description="turned to either side, in degrees")
    zoom: float = Field(ge=0, le=1, description="logarithm of the factor, nearer or farther")
    shear: float = Field(ge=0, le=1, description="sideways per pixel upwards")
    bend: float = Field(ge=0, description="pixels that a smooth field moves a point, one deviation")
    gamma: float = Field(ge=0, description="logarithm of the exponent of brightness")
    gain: float = Field(ge=0, description="standard deviation of a smooth factor of brightness")
    sharpness: float = Field(ge=0, description="share of what a blur takes away, added or taken")
    noise: float = Field(ge=0, description="standard deviation, of the range from black to white")
    shadows: float = Field(ge=0, description="depth of soft edges through the image")
    inverted: float = Field(ge=0, le=1, description="share in which dark and bright change over")

    @property
    def strength(self) -> "Augmentation":
        """The same for `vesselrl.networks.augmentation`."""
        from vesselrl.networks.augmentation import Augmentation  # torch is heavy

        return Augmentation(**{**self.model_dump(), "angle": math.radians(self.angle)})
