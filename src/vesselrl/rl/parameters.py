"""Parameters of actions, experiments and PPO (``conf/base/parameters_experiments.yml``)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from vesselrl.extensions import known_or_extension
from vesselrl.parameters import ParameterModel

EXPERIMENTS = ("prompt_rl", "postprocess_rl", "reward_rl")
"""One pipeline each, a namespace of its own; ``experiments`` in conf says what each does."""
REGRESSORS = ("regressor", "regressor_true")
"""The plain rivals of ``reward_rl``; ``regressors`` in conf says who pays each."""

Judge = Literal["ground_truth", "reward_network"]
Observations = Literal["handmade", "reward_network"]


def _each_once(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed is listed twice: {seeds}")
    return seeds


Seeds = Annotated[
    list[NonNegativeInt],
    Field(min_length=1, description="one run each; the first owns the folder's top level"),
    AfterValidator(_each_once),
]


OPERATIONS = ("opening", "closing", "remove_small", "fill_holes", "hysteresis", "dilate", "erode")
"""The kinds of operations that are built in."""


class Operation(ParameterModel):
    """One post-processing operation.

    ``radius`` (pixels) is used by opening, closing, dilate and erode; ``size`` (pixels) by
    remove_small and fill_holes; ``low`` (probability) by hysteresis. A kind that is none of
    `OPERATIONS` is a module of `vesselrl.extensions`, which may use all of them.
    """

    kind: Annotated[
        str, AfterValidator(lambda kind: known_or_extension("kind", kind, "operation", OPERATIONS))
    ]
    radius: int = Field(1, ge=1, le=50)
    size: int = Field(50, ge=1)
    low: float = Field(0.3, gt=0, lt=1)


class ActionParameters(ParameterModel):
    """The group ``actions``: what a policy may choose from, beside the segmenter's prompts."""

    thresholds: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        min_length=1, description="probabilities above which a pixel is vessel"
    )
    operations: dict[str, Operation] = Field(description="by name; to do nothing is always there")


class PPOParameters(ParameterModel):
    """Settings of Proximal Policy Optimisation (arXiv:1707.06347), named as in SB3."""

    total_timesteps: PositiveInt = Field(description="rounded up to whole rollouts")
    n_envs: PositiveInt
    n_steps: int = Field(ge=2, description="steps of each environment in a rollout")
    batch_size: int = Field(ge=2)
    n_epochs: PositiveInt
    learning_rate: float = Field(gt=0)
    gamma: float = Field(ge=0, le=1)
    gae_lambda: float = Field(ge=0, le=1)
    clip_range: float = Field(gt=0)
    ent_coef: float = Field(ge=0)
    net_arch: list[PositiveInt] = Field(min_length=1)


class RLParameters(ParameterModel):
    """The group ``rl``: what the experiments have in common."""

    seeds: Seeds
    save_freq: PositiveInt = Field(description="steps between checkpoints")
    resume: Literal["auto", "never"] = Field(
        exclude=True,  # it changes nothing in the result
        description="auto: an interrupted training goes on; never: it starts again",
    )
    validate_every: PositiveInt = Field(description="updates between looks at validation images")
    patience: PositiveInt = Field(
        description="looks without a better gold objective after which training ends"
    )
    allow_unfit_reward: bool = Field(
        description="train also where the report card calls the reward network unfit"
    )
    observations: Observations = Field(
        "handmade",
        description="what is seen of an image: features made by hand, or the reward network's own, "
        "which is then needed wherever the policy is used",
    )
    ppo: PPOParameters


class ExperimentParameters(ParameterModel):
    """One of ``experiments``: what is chosen, how often in an episode, and who pays."""

    chooses: Literal["prompts", "operations", "setting"]
    episode_length: PositiveInt
    reward: Judge


class RegressorParameters(ParameterModel):
    """One of ``regressors``: whose judgement of the training images' masks it learns to predict."""

    reward: Judge
