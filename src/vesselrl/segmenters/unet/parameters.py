"""Parameters of our own segmenter (``conf/base/parameters_segmenter.yml``)."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PrivateAttr, computed_field, field_validator, model_validator

from vesselrl.networks.parameters import AugmentationParameters, NetworkParameters, Norm
from vesselrl.parameters import ParameterModel, Teams
from vesselrl.segmenters.parameters import SegmenterParameters

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


class UnetPrompt(ParameterModel):
    """How the network looks at an image when asked a prompt."""

    operating_point: float = Field(
        gt=0, lt=1, description="the network's probability that becomes one half"
    )
    zoom: float = Field(ge=0.25, le=4, description="magnification; at 2 vessels look twice as wide")


class UnetParameters(SegmenterParameters):
    """The group ``segmenter`` of the kind ``unet``."""

    kind: Literal["unet"]
    weights: str = Field(
        min_length=1,
        description="shipped, or the path of a file of the pipelines segmenter, pixel_rl, pretrain",
        exclude=True,  # a path may hold names; the file's content tells weights apart
    )
    prompts: dict[str, UnetPrompt] = Field(min_length=1)
    _held: str | None = PrivateAttr(None)

    @property
    def file(self) -> Path:
        """Of the weights."""
        return SHIPPED if self.weights == "shipped" else Path(self.weights).expanduser()

    def learned_from(self) -> list[str]:
        """See `SegmenterParameters.learned_from`."""
        from vesselrl.segmenters.unet.weights import read_header  # torch is heavy

        return read_header(self.file).groups

    @field_validator("weights")
    @classmethod
    def _is_a_file(cls, weights: str) -> str:
        if weights != "shipped" and not Path(weights).expanduser().is_file():
            raise ValueError(f"there is no file {weights}; expected 'shipped' or the path of one")
        return weights

    @computed_field  # type: ignore[prop-decorator]
    @property
    def weights_sha256(self) -> str:
        """The content of the file, in hexadecimal digits."""
        return self._held or hashlib.sha256(self.file.read_bytes()).hexdigest()

    @property
    def held(self) -> str | None:
        """The hash that the weights must have when they are loaded; None if any will do."""
        return self._held

    def holding(self, sha256: str) -> Self:
        """The same, but no other weights than those of this hash are loaded."""
        copy = self.model_copy()
        copy._held = sha256
        return copy


class UnetTrainingParameters(NetworkParameters):
    """Size of a network that sees an image, and of its training."""

    norm: Norm = Field(description="how it normalises: by batches, or each image by itself")
    cldice: float = Field(
        default=0,
        ge=0,
        description="weight of the soft clDice loss, by which a broken branch costs more than its "
        "pixels; 0: none",
    )

    @property
    def architecture(self) -> "Architecture":
        """Of a network."""
        from vesselrl.networks.architecture import Architecture  # torch is heavy

        return Architecture(1, tuple(self.features), self.downscale, self.norm)


class TrainingParameters(UnetTrainingParameters):
    """The same for training that is checked on validation images."""

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
        "file of the pipelines segmenter, pixel_rl or pretrain, trained on other patients",
        exclude=True,  # a path may hold names; the file's content is fingerprinted instead
    )
    devices: Teams = None
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


class CyclicTrainingParameters(UnetTrainingParameters):
    """The same for training that ends before its learning rate has come to nothing."""

    cycle: int = Field(ge=1, description="iterations in which the learning rate rises and falls")

    @model_validator(mode="after")
    def _ends_within_the_cycle(self) -> "CyclicTrainingParameters":
        if self.cycle < self.iterations:
            raise ValueError(f"cycle is {self.cycle}, less than iterations, {self.iterations}")
        return self


class PretrainingParameters(ParameterModel):
    """The group ``pretraining``: the segmenter's first weights, from drawn angiograms."""

    seed: int = Field(ge=0, description="of the first patient; the others count on from it")
    patients: int = Field(ge=1, description="one drawing each")
    size: int = Field(ge=64, le=1024, description="side of the drawings, in pixels")
    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    devices: Teams = None
    training: CyclicTrainingParameters
    augmentation: AugmentationParameters
