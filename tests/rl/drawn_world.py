"""A small world to act in: images whose best prompt shows in their brightness."""

from dataclasses import dataclass

import numpy as np

from vesselrl.metrics.masks import mask_metrics
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.outcomes import Outcomes
from vesselrl.rl.parameters import ActionParameters, ExperimentParameters, RLParameters

PROMPTS = ["top", "bottom", "everything"]
SIZE = 32


@dataclass(frozen=True)
class DrawnScene:
    """What a `vesselrl.reward.scenes.Scene` offers; the prediction is the truth, a bit too kind."""

    image: np.ndarray
    probabilities: np.ndarray
    truth: np.ndarray

    def true_scores(self, masks):
        scores = [mask_metrics(mask, self.truth) for mask in masks]
        return {
            name: np.array([score[name] for score in scores])
            for name in ("dice", "recall", "precision")
        }

    def predicted_scores(self, masks):
        return {name: np.minimum(s + 0.05, 1) for name, s in self.true_scores(masks).items()}


def draw_scene(sample: str) -> DrawnScene:
    """Bright images have their vessel at the top, dark ones at the bottom."""
    number = int(sample[1:])
    bright = number % 2 == 0
    rng = np.random.default_rng(number)
    top, bottom = np.zeros((2, SIZE, SIZE), np.float32)
    top[4:8, 4:-4] = bottom[-8:-4, 4:-4] = 0.9
    image = rng.normal(170 if bright else 70, 5, (SIZE, SIZE)).clip(0, 255).astype(np.uint8)
    return DrawnScene(image, np.stack([top, bottom, top + bottom]), (top if bright else bottom) > 0)


def drawn_actions() -> ActionSet:
    parameters = ActionParameters(
        thresholds=[0.5, 0.95],
        operations={"dilate": {"kind": "dilate"}, "erode": {"kind": "erode"}},
    )
    return ActionSet.of(PROMPTS, "everything", parameters)


def drawn_outcomes(
    chooses: str, length: int, samples=("i0", "i1", "i2", "i3"), draw=draw_scene
) -> Outcomes:
    experiment = ExperimentParameters(chooses=chooses, episode_length=length, reward="ground_truth")
    return Outcomes(samples, draw, Rules.of(drawn_actions(), experiment), ["dice"])


def rl_parameters(ppo=(), **changes) -> RLParameters:
    """Settings with which a policy learns this world in moments."""
    settings = {
        "seeds": [1], "save_freq": 100, "resume": "auto", "validate_every": 2, "patience": 9,
        "allow_unfit_reward": False,
    }  # fmt: skip
    settings["ppo"] = {
        "total_timesteps": 500, "n_envs": 2, "n_steps": 64, "batch_size": 64, "n_epochs": 10,
        "learning_rate": 3e-3, "gamma": 0.99, "gae_lambda": 0.95, "clip_range": 0.2,
        "ent_coef": 0.0, "net_arch": [32],
    } | dict(ppo)  # fmt: skip
    return RLParameters(**settings | changes)
