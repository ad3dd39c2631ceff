"""Wiring of the pipeline ``predict``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.predict import nodes, review_nodes


def create_pipeline() -> Pipeline:
    """A folder of images → accepted or quarantined → masks → quality, annotations, review."""
    return Pipeline(
        [
            node(
                nodes.list_new_frames,
                ["new_images", "new_hashes", "params:predict", "params:ingest"],
                "new_frames",
                name="list_new_frames",
                tags="early",
            ),
            node(
                nodes.check_new_images,
                [
                    "new_images",
                    "new_frames",
                    "new_hashes",
                    "earlier_new_checks",
                    "pseudonym_key",
                    "params:pseudonymise",
                    "params:annotations",
                    "params:ingest",
                ],
                ["new_entries", "new_quarantine", "new_file_names"],
                name="check_new_images",
                tags="early",
            ),
            node(
                nodes.predict_images,
                [
                    "new_images",
                    "new_frames",
                    "new_entries",
                    "new_file_names",
                    "recipe",
                    "params:segmenter",
                    "params:predict",
                    "params:ingest",
                    "params:ray",
                ],
                "new_predictions",
                name="predict_images",
            ),
            node(
                nodes.tabulate_quality,
                ["new_entries", "new_predictions"],
                "quality",
                name="tabulate_quality",
            ),
            node(
                nodes.export_annotations,
                ["new_entries", "new_predictions"],
                "new_annotations",
                name="export_annotations",
            ),
            node(
                nodes.export_labelme,
                [
                    "new_images",
                    "new_frames",
                    "new_entries",
                    "new_file_names",
                    "new_predictions",
                    "params:predict",
                    "params:ingest",
                ],
                "new_labelme_files",
                name="export_labelme",
            ),
            node(
                nodes.export_coco,
                ["new_entries", "new_predictions", "params:predict"],
                "new_coco",
                name="export_coco",
            ),
            node(
                review_nodes.show_review_pictures,
                ["new_images", "new_frames", "new_entries", "new_file_names", "params:ingest"],
                "review_pictures",
                name="show_review_pictures",
            ),
            node(
                review_nodes.write_review_page,
                ["quality", "recipe", "params:predict", "params:report"],
                "review_page",
                name="write_review_page",
            ),
            node(
                review_nodes.animate_series,
                [
                    "new_images",
                    "new_frames",
                    "new_entries",
                    "new_file_names",
                    "new_predictions",
                    "params:predict",
                    "params:ingest",
                ],
                "series_animations",
                name="animate_series",
            ),
        ]
    )
