"""Parameters of RL on a segmenter's weights (``conf/base/parameters_pixel_rl.yml``)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from vesselrl.errors import VesselrlError
from vesselrl.parameters import ParameterModel, Teams
from vesselrl.reward.parameters import ExampleParameters, TrainingParameters
from vesselrl.rl.parameters import Seeds

PIXEL_RL, REFINE = "pixel_rl", "refine"
"""The networks whose maps the pipeline ``pixel_rl`` makes: after RL, and the rival without."""
SA2VA_RL = "sa2va_rl"
"""The network whose maps the pipeline of that name makes."""
Source = Literal["network", "ensemble", "both"]
"""Who says where the truth may be: the reward network, other segmenters, or each half."""


class LearningParameters(ParameterModel):
    """How a policy of pixels learns; the formulas are in `vesselrl.rl.pixel.objective`."""

    unlabelled: int = Field(ge=0, description="images of a batch that the reward network judges")
    labelled: int = Field(ge=0, description="images of a batch that the ground truth judges")
    samples: int = Field(ge=1, description="masks drawn of each image, K")
    inner_steps: int = Field(ge=1, description="steps of the optimiser on one batch")
    iterations: int = Field(ge=1, description="batches")
    learning_rate: float = Field(gt=0)
    ema_decay: float = Field(ge=0, lt=1, description="of the averaged weights that are kept")
    clip: float = Field(gt=0, lt=1, description="how far a pixel's probability ratio may go from 1")
    kl: float = Field(ge=0, description="beta: how strongly the start holds the policy")
    kappa: float = Field(ge=0, description="standard deviations of q that are not believed")
    check_every: int = Field(ge=1, description="batches between looks at validation images")
    patience: int = Field(
        ge=1, description="looks without a better gold objective after which training ends"
    )

    @model_validator(mode="after")
    def _batch_is_not_empty(self) -> Self:
        if self.unlabelled + self.labelled == 0:
            raise ValueError("unlabelled and labelled are both 0: there is nothing to learn from")
        return self


class PolicyParameters(LearningParameters):
    """The same for a network that sees squares of the images."""

    patch: int = Field(ge=32, description="side of the training squares, in pixels")

    def check_stride(self, stride: int) -> None:
        """Check that a network can work on the squares.

        Args:
            stride: of the network that training starts from, in pixels.

        Raises:
            VesselrlError: it cannot.
        """
        if self.patch % stride:
            raise VesselrlError(
                f"pixel_rl.policy.patch is {self.patch}; the segmenter it starts from works on "
                f"squares whose side is a multiple of {stride} (supervised.training.downscale)."
            )


class LoraParameters(ParameterModel):
    """Size of the adapters; see `vesselrl.segmenters.sa2va.adapters`."""

    rank: int = Field(ge=1, description="of the two small matrices beside each frozen one")
    alpha: float = Field(gt=0, description="their product counts alpha / rank times")


class PixelRewardParameters(ParameterModel):
    """Who pays, and the reward network that learns from cross-fitted maps."""

    source: Source = Field(
        description="network: the reward network's members; ensemble: the fold networks; both: "
        "each group counts half"
    )
    examples: ExampleParameters
    training: TrainingParameters


class PixelRLParameters(ParameterModel):
    """The group ``pixel_rl``: RL on the weights of our own segmenter."""

    seeds: Seeds
    start: Literal["supervised", "distilled"] = Field(
        description="which of the segmenter's networks training starts from"
    )
    resume: Literal["auto", "never"] = Field(
        exclude=True,  # it changes nothing in the result
        description="auto: an interrupted training goes on; never: it starts again",
    )
    devices: Teams = None
    reward: PixelRewardParameters
    policy: PolicyParameters


class Sa2vaRLParameters(ParameterModel):
    """The group ``sa2va_rl``: RL through the mask decoder of a Sa2VA model."""

    seeds: Seeds
    resume: Literal["auto", "never"] = Field(
        exclude=True,  # it changes nothing in the result
        description="auto: an interrupted training goes on; never: it starts again",
    )
    max_side: int = Field(ge=32, description="masks are drawn and judged at this side, in pixels")
    lora: LoraParameters
    policy: LearningParameters
