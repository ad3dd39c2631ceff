"""Wiring of the pipeline ``reward_net``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.reward_net import nodes


def create_pipeline() -> Pipeline:
    """Candidates and masks → examples → reward network → scores of every action → report card."""
    return Pipeline(
        [
            node(
                nodes.make_reward_examples,
                ["images", "masks", "candidates", "samples", "params:reward", "params:seed"],
                "reward_examples",
                name="make_reward_examples",
            ),
            node(
                nodes.train_network,
                ["reward_examples", "samples", "params:reward", "params:seed"],
                ["reward_network", "reward_history"],
                name="train_reward_network",
            ),
            node(
                nodes.score_actions,
                [
                    "images",
                    "masks",
                    "candidates",
                    "reward_network",
                    "samples",
                    "params:segmenter",
                    "params:actions",
                ],
                "action_scores",
                name="score_actions",
            ),
            node(
                nodes.write_report_card,
                ["action_scores", "samples", "params:reward"],
                "reward_net_report",
                name="write_reward_report_card",
            ),
            node(
                nodes.draw_report_card,
                ["action_scores", "samples", "reward_history"],
                "reward_net_figure",
                name="draw_reward_report_card",
            ),
        ]
    )
