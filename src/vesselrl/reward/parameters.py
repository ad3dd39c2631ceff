"""Parameters of the reward network (``conf/base/parameters_reward_net.yml``)."""

from pydantic import Field

from vesselrl.parameters import ParameterModel


class ExampleParameters(ParameterModel):
    """What the network is shown of each labelled image."""

    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    corruptions: int = Field(ge=0, description="corrupted copies of the truth per image")


class TrainingParameters(ParameterModel):
    """Size and training of the reward network."""

    members: int = Field(ge=1, description="networks in the ensemble")
    features: list[int] = Field(min_length=6, max_length=6, description="MONAI BasicUNet's widths")
    patch: int = Field(ge=64, multiple_of=32, description="side of the training crops, in pixels")
    batch: int = Field(ge=1)
    iterations: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    ema_decay: float = Field(ge=0, lt=1, description="of the averaged weights that are kept")
    checks: int = Field(ge=1, description="how often ranking on validation images is measured")
    kappa: float = Field(ge=0, description="reward = mean - kappa * standard deviation of members")


class RewardParameters(ParameterModel):
    """The group ``reward``."""

    examples: ExampleParameters
    training: TrainingParameters
    fit_tau: float = Field(ge=-1, le=1, description="least within-image tau to be called fit")
