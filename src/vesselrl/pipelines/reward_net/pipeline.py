"""Wiring of the pipeline ``reward_net``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.reward_net import nodes


def create_pipeline() -> Pipeline:
    """Candidates and masks → examples → reward network → scores and hacks → report card."""
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
                [
                    "reward_examples",
                    "samples",
                    "reward_checkpoints",
                    "params:reward",
                    "params:report.objective",
                    "params:seed",
                ],
                ["reward_network", "reward_history"],
                name="train_reward_network",
            ),
            node(
                nodes.train_scalar_judges,
                ["reward_examples", "samples", "params:reward", "params:seed"],
                "scalar_judges",
                name="train_scalar_judges",
            ),
            node(
                nodes.score_actions,
                [
                    "images",
                    "masks",
                    "candidates",
                    "reward_network",
                    "scalar_judges",
                    "samples",
                    "params:segmenter",
                    "params:actions",
                ],
                "action_scores",
                name="score_actions",
            ),
            node(
                nodes.score_unseen,
                ["images", "masks", "reward_network", "samples", "params:reward", "params:actions"],
                "unseen_scores",
                name="score_unseen",
            ),
            node(
                nodes.try_hacks,
                [
                    "images",
                    "masks",
                    "candidates",
                    "reward_network",
                    "samples",
                    "params:segmenter",
                    "params:report.objective",
                ],
                "reward_hacks",
                name="try_hacks",
            ),
            node(
                nodes.write_report_card,
                [
                    "action_scores",
                    "unseen_scores",
                    "reward_hacks",
                    "samples",
                    "params:reward",
                    "params:report.objective",
                ],
                "reward_net_report",
                name="write_reward_report_card",
            ),
            node(
                nodes.draw_report_card,
                ["action_scores", "samples", "reward_net_report", "reward_history"],
                "reward_net_figure",
                name="draw_reward_report_card",
            ),
            node(
                nodes.draw_error_maps,
                [
                    "images",
                    "masks",
                    "candidates",
                    "reward_network",
                    "samples",
                    "params:segmenter",
                ],
                "reward_error_maps_figure",
                name="draw_reward_error_maps",
            ),
            node(
                nodes.draw_hacks,
                "reward_hacks",
                "reward_hacks_figure",
                name="draw_reward_hacks",
            ),
            node(
                nodes.draw_reward_examples,
                ["reward_examples", "samples"],
                "reward_examples_figure",
                name="draw_reward_examples",
            ),
        ]
    )
