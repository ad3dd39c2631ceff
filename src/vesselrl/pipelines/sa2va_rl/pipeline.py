"""Wiring of the pipeline ``sa2va_rl``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.pixel_rl.result_nodes import draw_training
from vesselrl.pipelines.sa2va_rl import nodes


def create_pipeline() -> Pipeline:
    """Reward network and a Sa2VA model → reward and encodings → adapters → maps."""
    return Pipeline(
        [
            node(
                nodes.make_reward_maps,
                [
                    "images",
                    "candidates",
                    "reward_network",
                    "samples",
                    "params:sa2va_rl",
                    "params:segmenter",
                ],
                "sa2va_reward_maps",
                name="make_sa2va_reward_maps",
            ),
            node(
                nodes.encode_images,
                ["images", "samples", "params:segmenter"],
                "sa2va_encodings",
                name="encode_for_sa2va",
            ),
            node(
                nodes.train_adapters,
                [
                    "images",
                    "masks",
                    "sa2va_encodings",
                    "sa2va_reward_maps",
                    "samples",
                    "reward_net_report",
                    "sa2va_rl.run_folder",
                    "params:sa2va_rl",
                    "params:segmenter",
                    "params:report.objective",
                    "params:rl.allow_unfit_reward",
                ],
                ["sa2va_rl.models", "sa2va_rl.histories", "sa2va_rl.training_infos"],
                name="train_sa2va_adapters",
            ),
            node(
                nodes.map_adapted,
                ["sa2va_encodings", "sa2va_rl.models", "samples", "params:segmenter"],
                "sa2va_rl.network_maps",
                name="map_adapted_sa2va",
            ),
            node(
                nodes.describe_adapted,
                ["sa2va_rl.training_infos", "reward_history"],
                "sa2va_rl.network_facts",
                name="describe_adapted_sa2va",
            ),
            node(
                draw_training,
                "sa2va_rl.histories",
                "sa2va_rl.training_figure",
                name="draw_sa2va_training",
            ),
        ]
    )
