"""Wiring of the experiments: one definition, a namespace each."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.experiments import nodes
from vesselrl.rl.parameters import EXPERIMENTS

SHARED = {"images", "masks", "candidates", "reward_network", "reward_net_report", "samples"}


def create_pipeline(names: Sequence[str] = EXPERIMENTS) -> Pipeline:
    """Candidates and reward network → a policy a seed, for each of the named experiments."""
    return sum((_create_experiment(name) for name in names), Pipeline([]))


def _create_experiment(name: str) -> Pipeline:
    train = node(
        nodes.train_policies,
        [
            "images",
            "masks",
            "candidates",
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
            "params:rl": "params:rl",
            "params:segmenter": "params:segmenter",
            "params:actions": "params:actions",
            "params:report.objective": "params:report.objective",
        },
    )
