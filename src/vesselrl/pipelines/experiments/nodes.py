"""Nodes of the pipeline ``experiments``: candidates in, trained policies out."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from zlib import crc32

from vesselrl.checkpoints import weight_sums
from vesselrl.pipelines import Partitions
from vesselrl.progress import with_progress
from vesselrl.reward.fitness import check_fit
from vesselrl.rl.parameters import (
    ActionParameters,
    ExperimentParameters,
    Judge,
    Observations,
    RegressorParameters,
    RLParameters,
)
from vesselrl.rl.run_folder import RunFolder
from vesselrl.samples import ids_of, of_splits
from vesselrl.segmenters.parameters import SegmenterParameters

PACKAGES = ("vesselrl", "numpy", "torch", "stable-baselines3", "gymnasium", "scikit-image")


def see_images(
    images: Partitions, reward_network: dict[str, Any], samples: Any, observations: Observations
) -> dict[str, Any]:
    """What policies see of training and validation images before the segmenter is asked.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        reward_network: state of the `RewardNetwork`.
        samples: the table of samples.
        observations: which features these are.

    Returns:
        ``samples``, str (N,), the ids; ``features``, float32 (N, F), see
        `vesselrl.rl.observations.feature_function`.
    """
    import numpy as np

    from vesselrl.ahead import made_ahead, made_here
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.rl.observations import feature_function

    see = feature_function(observations, RewardNetwork.from_state(reward_network))
    shown = of_splits(images, samples, "train", "val")
    spread = made_ahead if observations == "handmade" else made_here
    makers = with_progress(spread(see, shown), "Looking at images")
    seen = {sample: make() for sample, make in makers.items()}
    return {
        "samples": np.array(list(shown), np.str_),
        "features": np.array([seen[sample] for sample in shown], np.float32),
    }


def train_policies(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    image_features: dict[str, Any],
    reward_network: dict[str, Any],
    reward_net_report: Mapping[str, Any],
    samples: Any,
    run_folder: RunFolder,
    experiment: ExperimentParameters,
    rl: RLParameters,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    objective: list[str],
) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any], dict[int, Any]]:
    """Train one policy a seed on the training images.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        candidates: sample id → loader of the stored maps.
        image_features: see `see_images`.
        reward_network: state of the `RewardNetwork`.
        reward_net_report: its report card, with the verdict.
        samples: the table of samples.
        run_folder: receives checkpoints and logs while training runs; an interrupted training of
            the same data and parameters is gone on with.
        experiment: what is chosen, how often, and who pays.
        rl: seeds, PPO, checkpoints.
        segmenter: the prompts.
        actions: thresholds and operations.
        objective: the scores whose mean is paid.

    Returns:
        Four mappings from seed: the model, the policy for deployment, the history (a DataFrame, one
        row an update) and the training's facts (``training_info.json``).

    Raises:
        VesselrlError: the reward network pays and is not fit to.
    """
    from importlib.metadata import version

    import pandas as pd

    from vesselrl.hashes import digest
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.reward.scenes import CACHE_BYTES, SceneLoader
    from vesselrl.rl.actions import ActionSet, Rules
    from vesselrl.rl.outcomes import Outcomes
    from vesselrl.rl.training import train_policy

    if experiment.reward == "reward_network":
        check_fit(reward_net_report, rl.allow_unfit_reward)
    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    rules = Rules.of(action_set, experiment)
    network = RewardNetwork.from_state(reward_network)
    load = SceneLoader(images, masks, candidates, network, CACHE_BYTES)
    see = _by_sample(image_features).__getitem__
    training = Outcomes(ids_of(samples, "train"), load, rules, objective, see)
    validation = Outcomes(ids_of(samples, "val"), load, rules, objective, see)
    config = {
        "experiment": experiment.model_dump(),
        "rl": rl.model_dump(),
        "actions": actions.model_dump(),
        "segmenter": segmenter.model_dump(),
        "objective": list(objective),
    }
    packages = {package: version(package) for package in PACKAGES}
    data = [
        [
            [sample, *_checksums(images[sample](), masks[sample](), candidates[sample]()["levels"])]
            for sample in outcomes.samples
        ]
        for outcomes in (training, validation)
    ]
    members = [weight_sums(member) for member in reward_network["members"]]
    judge = {**reward_network, "members": members}
    fingerprint = digest([config, packages, data, judge])
    run_folder.begin(fingerprint, rl.resume == "auto")
    runs = {
        seed: train_policy(
            run_folder.name,
            training,
            validation,
            experiment.reward,
            rl,
            seed,
            run_folder.of_seed(seed, rl.seeds[0]),
            fingerprint,
        )
        for seed in rl.seeds
    }
    load.forget()  # the models hold it, in cycles that outlive them
    facts = {
        "fingerprint": fingerprint,
        "packages": packages,
        "training_images": len(training.samples),
        "validation_images": len(validation.samples),
        "config": config,
    }
    return (
        {seed: run.model for seed, run in runs.items()},
        {seed: run.policy for seed, run in runs.items()},
        {seed: pd.DataFrame(run.history) for seed, run in runs.items()},
        {seed: {"seed": seed, **run.result, **facts} for seed, run in runs.items()},
    )


def _by_sample(image_features: dict[str, Any]) -> dict[str, Any]:
    samples = image_features["samples"].tolist()
    return dict(zip(samples, image_features["features"], strict=True))


def _checksums(*arrays: Any) -> list[int]:
    return [crc32(array.tobytes()) for array in arrays]


def draw_training(histories: dict[int, Any], experiment: ExperimentParameters) -> Any:
    """The learning curves of all seeds: what was paid beside what is true; a Figure."""
    import pandas as pd

    from vesselrl.report.curves import draw_learning_curves

    name = f"{experiment.chooses}, {experiment.reward.replace('_', ' ')}"
    curves = [frame.assign(seed=seed, experiment=name) for seed, frame in histories.items()]
    return draw_learning_curves(pd.concat(curves, ignore_index=True))


def score_training_images(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    samples: Any,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
) -> Partitions:
    """True and predicted scores of every mask of training images that could be chosen.

    Returns:
        Sample id → maker of `vesselrl.rl.setting_scores.SettingScores`, float64 arrays (A,), and
        ``seconds``, float64 (), what they took.
    """
    from vesselrl.ahead import made_ahead
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.reward.scenes import SceneLoader
    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.setting_scores import SettingScores, with_seconds

    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    load = SceneLoader(images, masks, candidates, RewardNetwork.from_state(reward_network))
    scenes = {sample: partial(with_seconds, load, sample) for sample in ids_of(samples, "train")}
    return with_progress(
        made_ahead(SettingScores(action_set), scenes), "Scoring masks of training images"
    )


def fit_regressor(
    image_features: dict[str, Any],
    training_scores: Partitions,
    action_scores: Partitions,
    reward_net_report: Mapping[str, Any],
    samples: Any,
    regressor: RegressorParameters,
    observations: Observations,
    allow_unfit_reward: bool,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    objective: list[str],
    seed: int,
) -> tuple[dict[int, Any], dict[int, Any]]:
    """Learn by regression what ``reward_rl`` learns by trial: which setting an image deserves.

    Args:
        image_features: see `see_images`.
        training_scores: sample id → loader of the scores of every setting, training images, and
            of the seconds that they took.
        action_scores: the same of validation images.
        reward_net_report: its report card, with the verdict.
        samples: the table of samples.
        regressor: who pays.
        observations: what is seen of an image.
        allow_unfit_reward: whether a reward network that is not fit to may pay.
        segmenter: the prompts.
        actions: thresholds and operations.
        objective: the scores whose mean is paid.
        seed: under which the policy is filed; there is no chance in it.

    Returns:
        Two mappings from the seed: the policy, and the facts of its making, of which ``seconds`` is
        the time for scoring the masks it learned from and for the regression.

    Raises:
        VesselrlError: the reward network pays and is not fit to, or there are no images.
    """
    import time

    import numpy as np

    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.regressor import Images, ridge_regression
    from vesselrl.rl.setting_scores import objective_by

    if regressor.reward == "reward_network":
        check_fit(reward_net_report, allow_unfit_reward)
    started = time.perf_counter()
    features = _by_sample(image_features)

    def seen(split: str, scores: Partitions, judge: Judge) -> Images:
        ids = ids_of(samples, split)
        return Images(
            np.array([features[sample] for sample in ids]),
            np.array([objective_by(judge, scores[sample](), objective) for sample in ids]),
        )

    fitted = ridge_regression(
        seen("train", training_scores, regressor.reward),
        seen("val", action_scores, "ground_truth"),
        ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions),
        observations,
    )
    training = ids_of(samples, "train")
    scoring = sum(float(training_scores[sample]()["seconds"]) for sample in training)
    facts = {
        "reward": regressor.reward,
        "observations": observations,
        "penalty": fitted.penalty,
        "val_objective": round(fitted.validation, 6),
        "seconds": round(scoring + time.perf_counter() - started, 3),
        "training_images": len(training),
        "validation_images": len(ids_of(samples, "val")),
    }
    return {seed: fitted.policy}, {seed: facts}
