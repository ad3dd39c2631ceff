"""Wiring of the experiments: one definition, a namespace each."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.experiments import nodes
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS

JUDGED = {"image_features", "reward_net_report", "samples"}
SHARED = JUDGED | {"images", "masks", "candidates", "reward_network"}
SETTINGS = ("params:segmenter", "params:actions", "params:report.objective")


def create_pipeline(names: Sequence[str] = EXPERIMENTS) -> Pipeline:
    """Candidates and reward network → a policy a seed, for each of the named experiments."""
    see = node(
        nodes.see_images,
        ["images", "reward_network", "samples", "params:rl.observations"],
        "image_features",
        name="see_images",
    )
    stage = Pipeline([see], namespace="image_features", prefix_datasets_with_namespace=False)
    return sum((_create_experiment(name) for name in names), stage)


def create_regressors() -> Pipeline:
    """Rewards of all settings, and what is seen of images → the plain rivals of ``reward_rl``."""
    score = node(
        nodes.score_training_images,
        [
            "images",
            "masks",
            "candidates",
            "reward_network",
            "samples",
            "params:segmenter",
            "params:actions",
        ],
        "training_scores",
        name="score_training_images",
    )
    stage = Pipeline([score], namespace="training_scores", prefix_datasets_with_namespace=False)
    return sum((_create_regressor(name) for name in REGRESSORS), stage)


def _create_experiment(name: str) -> Pipeline:
    train = node(
        nodes.train_policies,
        [
            "images",
            "masks",
            "candidates",
            "image_features",
            "reward_network",
            "reward_net_report",
            "samples",
            "run_folder",
            "params:experiment",
            "params:rl",
            "params:segmenter",
            "params:actions",
            "params:report.objective",
        ],
        ["models", "policies", "histories", "training_infos"],
        name="train_policies",
    )
    draw = node(
        nodes.draw_training,
        ["histories", "params:experiment"],
        "training_figure",
        name="draw_training",
    )
    return Pipeline(
        [train, draw],
        namespace=name,
        inputs=SHARED,
        parameters={
            "params:experiment": f"params:experiments.{name}",
            **{setting: setting for setting in ("params:rl", *SETTINGS)},
        },
    )


def _create_regressor(name: str) -> Pipeline:
    own = ("params:rl.observations", "params:rl.allow_unfit_reward", "params:seed")
    fit = node(
        nodes.fit_regressor,
        [
            "image_features",
            "training_scores",
            "action_scores",
            "reward_net_report",
            "samples",
            "params:regressor",
            "params:rl.observations",
            "params:rl.allow_unfit_reward",
            "params:segmenter",
            "params:actions",
            "params:report.objective",
            "params:seed",
        ],
        ["policies", "training_infos"],
        name="fit_regressor",
    )
    return Pipeline(
        [fit],
        namespace=name,
        inputs=JUDGED | {"training_scores", "action_scores"},
        parameters={
            "params:regressor": f"params:regressors.{name}",
            **{setting: setting for setting in own + SETTINGS},
        },
    )
