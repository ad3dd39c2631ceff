"""Wiring of the pipeline ``segmenter``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.segmenter import nodes


def create_pipeline() -> Pipeline:
    """Labelled images → networks and what they show of unseen images → students → maps."""
    return Pipeline(
        [
            node(
                nodes.make_segmenter_examples,
                ["images", "masks", "samples", "params:supervised"],
                "segmenter_examples",
                name="make_segmenter_examples",
            ),
            node(
                nodes.train_teachers,
                [
                    "segmenter_examples",
                    "samples",
                    "starting_weights",
                    "segmenter_checkpoints",
                    "params:supervised",
                    "params:seed",
                ],
                ["teachers", "teacher_history"],
                name="train_teachers",
            ),
            node(
                nodes.cross_fit,
                ["segmenter_examples", "teachers", "samples"],
                "cross_fitted",
                name="cross_fit",
            ),
            node(
                nodes.make_soft_targets,
                ["segmenter_examples", "teachers", "samples"],
                "soft_targets",
                name="make_soft_targets",
            ),
            node(
                nodes.train_students,
                [
                    "segmenter_examples",
                    "soft_targets",
                    "teachers",
                    "teacher_history",
                    "samples",
                    "segmenter_checkpoints",
                    "params:supervised",
                    "params:seed",
                ],
                ["segmenter_networks", "segmenter_history"],
                name="train_students",
            ),
            node(
                nodes.export_weights,
                "segmenter_networks",
                "segmenter_weights",
                name="export_segmenter_weights",
            ),
            node(
                nodes.keep_networks,
                "segmenter_networks",
                "segmenter.networks_in_use",
                name="keep_segmenter_networks",
            ),
            node(
                nodes.map_rivals,
                ["images", "segmenter_networks", "samples"],
                "segmenter.network_maps",
                name="map_rivals",
            ),
            node(
                nodes.describe_rivals,
                ["segmenter_networks", "segmenter_history"],
                "segmenter.network_facts",
                name="describe_rivals",
            ),
            node(
                nodes.draw_training,
                "segmenter_history",
                "segmenter_figure",
                name="draw_segmenter_training",
            ),
        ]
    )
