"""Parameters of our own segmenter (``conf/base/parameters_segmenter.yml``)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from vesselrl.networks.parameters import AugmentationParameters, NetworkParameters, Norm
from vesselrl.parameters import ParameterModel

if TYPE_CHECKING:
    from vesselrl.networks.architecture import Architecture

SHIPPED = Path(__file__).parent / "weights" / "angiograms.safetensors"
"""Weights that come with the project."""
RIVALS = (
    "supervised",
    "supervised_tta",
    "fold_ensemble",
    "fold_ensemble_tta",
    "distilled",
    "pseudo_labelled",
)
"""What the pipeline ``segmenter`` makes maps with; see `vesselrl.segmenters.unet.rivals`."""


class TrainingParameters(NetworkParameters):
    """Size of a network of ours, and of its training."""

    norm: Norm = Field(description="how it normalises: by batches, or each image by itself")
    checks: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        min_length=1,
        description="after these parts of the training Dice on validation images is measured, and "
        "a fold's network is kept to show maps of that quality",
    )
    patience: int = Field(ge=1, description="training ends after so many checks without better")

    @field_validator("checks")
    @classmethod
    def _rising_to_the_end(cls, checks: list[float]) -> list[float]:
        if checks != sorted(set(checks)) or checks[-1] != 1:
            raise ValueError(f"expected rising parts of the training, the last 1; found {checks}")
        return checks

    @property
    def architecture(self) -> "Architecture":
        """Of a network, which sees an image."""
        from vesselrl.networks.architecture import Architecture  # torch is heavy

        return Architecture(1, tuple(self.features), self.downscale, self.norm)


class StudentParameters(ParameterModel):
    """Further training of the supervised network, on maps of the teachers; see there for the rest.

    The students are ``distilled`` and ``pseudo_labelled``.
    """

    iterations: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class SupervisedParameters(ParameterModel):
    """The group ``supervised``: our own segmenter, trained on the labelled images."""

    pretrained: str = Field(
        min_length=1,
        description="what training starts from: none (drawn weights), shipped, or the path of a "
        "file that the pipeline wrote",
        exclude=True,  # a path may hold names; the file's content is fingerprinted instead
    )
    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    folds: int = Field(ge=2, description="of the training groups, for cross-fitting")
    training: TrainingParameters
    students: StudentParameters
    augmentation: AugmentationParameters

    @property
    def starting_file(self) -> Path | None:
        """The file of the weights that training starts from, None for drawn ones."""
        named = {"none": None, "shipped": SHIPPED}
        return named[self.pretrained] if self.pretrained in named else Path(self.pretrained)
