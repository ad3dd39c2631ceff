"""Parameters of actions, experiments and PPO (``conf/base/parameters_rl.yml``)."""

from typing import Literal

from pydantic import Field

from vesselrl.parameters import ParameterModel


class Operation(ParameterModel):
    """One post-processing operation.

    ``radius`` (pixels) is used by opening, closing, dilate and erode; ``size`` (pixels) by
    remove_small and fill_holes; ``low`` (probability) by hysteresis.
    """

    kind: Literal[
        "opening", "closing", "remove_small", "fill_holes", "hysteresis", "dilate", "erode"
    ]
    radius: int = Field(1, ge=1, le=50)
    size: int = Field(50, ge=1)
    low: float = Field(0.3, gt=0, lt=1)


class ActionParameters(ParameterModel):
    """What a policy may choose from, beside the prompts of the segmenter."""

    thresholds: list[float] = Field(min_length=1)
    operations: dict[str, Operation]


class PPOParameters(ParameterModel):
    """Settings of Proximal Policy Optimisation (Schulman et al. 2017), as Stable-Baselines3 has them."""

    total_timesteps: int = Field(ge=1)
    n_envs: int = Field(ge=1)
    n_steps: int = Field(ge=2)
    batch_size: int = Field(ge=2)
    n_epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    gamma: float = Field(ge=0, le=1)
    gae_lambda: float = Field(ge=0, le=1)
    clip_range: float = Field(gt=0)
    ent_coef: float = Field(ge=0)
    net_arch: list[int] = Field(min_length=1)


class RLParameters(ParameterModel):
    """What the experiments have in common."""

    seeds: list[int] = Field(min_length=1)
    save_freq: int = Field(ge=1)
    validate_every: int = Field(ge=1)
    ppo: PPOParameters


class ExperimentParameters(ParameterModel):
    """One experiment: what is chosen, how often in an episode, and what rewards it."""

    chooses: Literal["prompts", "operations", "setting"]
    episode_length: int = Field(ge=1)
    reward: Literal["ground_truth", "reward_network"]
