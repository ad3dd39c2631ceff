"""The plain rival of reinforcement learning in episodes of one step.

Such an episode is a contextual bandit, and here the reward of every action of every training image
is known: what an image's features tell of it can be learned by regression. Whoever then takes the
setting of the highest predicted reward has a policy, without exploration and at the same price at
deployment.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Features, Observer
from vesselrl.rl.parameters import Observations
from vesselrl.rl.policy import Policy

PENALTIES = tuple(10 ** (half / 2) for half in range(8, -7, -1))
"""From 10,000, which all but forgets the image and leaves one setting for all, to 0.001."""


@dataclass(frozen=True)
class Images:
    """Images to learn on or to choose by.

    Attributes:
        features: float32 (N, F), see `vesselrl.rl.observations.feature_function`.
        rewards: float64 (N, A), the objective of every setting.
    """

    features: Features
    rewards: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Regressor:
    """A fitted regression.

    Attributes:
        policy: takes the setting of the highest predicted reward.
        penalty: the one that was kept.
        validation: the mean true objective of its choices on the validation images.
    """

    policy: Policy
    penalty: float
    validation: float


def ridge_regression(
    training: Images, validation: Images, actions: ActionSet, observations: Observations
) -> Regressor:
    """The policy that regresses the reward of every setting on the features of the image.

    With X the N standardised observations, centred, and Y the rewards, centred, the coefficients

        B = (XᵀX + N λ I)⁻¹ XᵀY

    make ``|Y - XB|² / N + λ |B|²`` least (Hastie, Tibshirani and Friedman, "The Elements of
    Statistical Learning", 2009, doi:10.1007/978-0-387-84858-7, equation 3.44); with X = U D Vᵀ they
    are V D (D² + N λ)⁻¹ UᵀY, so that one decomposition serves every penalty λ (3.47). What an image
    adds to the reward of all its settings alike changes no choice, so it does not matter whether
    the objective is learned or its gain over the default answer.

    Args:
        training: rewards of the judge that pays.
        validation: true objectives, which choose the penalty as they choose the policy that
            reinforcement learning keeps; of equal ones the largest.
        actions: prompts, thresholds and operations.
        observations: which features these are.

    Raises:
        VesselrlError: there are no images, or their features or settings differ in number.
    """
    _check(training, validation, len(actions.settings))
    observer = Observer.fit(training.features, 1, observations)
    seen, mean = _observed(observer, training.features), training.rewards.mean(0)
    centre = seen.mean(0)
    u, d, vt = np.linalg.svd(seen - centre, full_matrices=False)
    projected = u.T @ (training.rewards - mean)

    def policy(penalty: float) -> Policy:
        shrunk = d / (d**2 + len(seen) * penalty)
        coefficients = vt.T @ (shrunk[:, None] * projected)
        weights = {
            "mean": observer.mean,
            "scale": observer.scale,
            "layer.0.weight": coefficients.T.astype(np.float32),
            "layer.0.bias": (mean - centre @ coefficients).astype(np.float32),
        }
        return Policy(Rules(actions, "setting", 1), observer, weights, joint=True)

    policies = [policy(penalty) for penalty in PENALTIES]
    gold = [_worth(candidate, validation) for candidate in policies]
    best = int(np.argmax(gold))
    return Regressor(policies[best], PENALTIES[best], gold[best])


def _check(training: Images, validation: Images, settings: int) -> None:
    for split, images in (("train", training), ("val", validation)):
        if not len(images.features):
            raise VesselrlError(
                f"A regressor needs images of the split '{split}', and there are none: give "
                f"split.fractions.{split} a share, or name such images in splits.json."
            )
        expected = (len(images.features), settings)
        if images.rewards.shape != expected:
            raise VesselrlError(
                f"Of {expected[0]} '{split}' images and {settings} settings the rewards are "
                f"{images.rewards.shape}: score the masks again with kedro run --pipeline "
                "experiments."
            )


def _observed(observer: Observer, features: Features) -> npt.NDArray[np.float32]:
    """Observations of an episode's first and only step, float32 (N, F)."""
    return np.stack([observer(of_image, _no_mask, 0) for of_image in features])


def _no_mask() -> Features:
    raise AssertionError("An episode of one step begins without a mask.")


def _worth(policy: Policy, images: Images) -> float:
    """The mean reward of a policy's choices."""
    choices = [policy.choose(seen) for seen in _observed(policy.observer, images.features)]
    places = np.ravel_multi_index(tuple(np.transpose(choices)), policy.rules.choices)
    return float(images.rewards[np.arange(len(places)), places].mean())
