"""Parameters of the reward network (``conf/base/parameters_reward_net.yml``)."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SerializeAsAny

from vesselrl.networks.parameters import NetworkParameters
from vesselrl.parameters import Devices, ParameterModel
from vesselrl.segmenters.parameters import SegmenterParameters

if TYPE_CHECKING:
    from vesselrl.networks.architecture import Architecture


class ExampleParameters(ParameterModel):
    """What the network is shown of each labelled image."""

    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    corruptions: int = Field(ge=0, description="corrupted copies of the truth per image")


class TrainingParameters(NetworkParameters):
    """Size and training of the reward network."""

    members: int = Field(ge=1, description="networks in the ensemble")
    checks: int = Field(ge=1, description="how often ranking on validation images is measured")
    patience: int = Field(ge=1, description="a member ends after so many checks without better tau")
    aggregation: Literal["lower_bound", "min"] = Field(
        description="lower_bound: mean - kappa * standard deviation of the members; or the least"
    )
    kappa: float = Field(ge=0, description="of the lower bound")

    @property
    def architecture(self) -> "Architecture":
        """Of each member, which sees an image and a candidate.

        It normalises by batches: whole images have other statistics than the squares it learns
        from, and normalised one by one they make it expect too much vessel.
        """
        from vesselrl.networks.architecture import Architecture  # torch is heavy

        return Architecture(2, tuple(self.features), self.downscale)


class ScalarParameters(ParameterModel):
    """Size and training of the scalar judges that the report card compares with."""

    side: int = Field(ge=32, description="images and masks become squares of so many pixels a side")
    # oneDNN, on CPUs without AVX-512, writes beyond its memory while it trains narrower ones
    # (https://github.com/uxlfoundation/oneDNN/issues/6035).
    channels: list[Annotated[int, Field(ge=8)]] = Field(
        min_length=4, max_length=4, description="MONAI ResNet's widths, each 8 or more"
    )
    batch: int = Field(ge=2)
    iterations: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class FitnessParameters(ParameterModel):
    """What a network must reach, on validation images, to be called fit to train a policy."""

    tau: float = Field(ge=-1, le=1, description="least order of the masks of one image")
    hacks_right: float = Field(
        ge=0, le=1, description="least share of images on which each hack is ranked right"
    )


class RewardParameters(ParameterModel):
    """The group ``reward``."""

    devices: Devices = None
    examples: ExampleParameters
    training: TrainingParameters
    scalar: ScalarParameters
    unseen_segmenter: SerializeAsAny[SegmenterParameters]
    fitness: FitnessParameters
