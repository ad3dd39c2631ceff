"""Wiring of the pipeline ``ingest``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.ingest import nodes


def create_pipeline() -> Pipeline:
    """Raw annotations → accepted or quarantined → samples in splits → images and masks → report."""
    return Pipeline(
        [
            node(
                nodes.check_annotations,
                [
                    "raw_annotations",
                    "raw_images",
                    "raw_hashes",
                    "earlier_checks",
                    "pseudonym_key",
                    "params:pseudonymise",
                    "params:annotations",
                    "params:ingest",
                ],
                ["accepted_entries", "quarantine", "file_names"],
                name="check_annotations",
            ),
            node(
                nodes.split_samples,
                [
                    "accepted_entries",
                    "raw_images",
                    "raw_groups",
                    "raw_splits",
                    "earlier_split_assignments",
                    "file_names",
                    "pseudonym_key",
                    "params:pseudonymise",
                    "params:split",
                    "params:seed",
                ],
                ["samples", "split_report", "look_alikes", "split_assignments", "group_names"],
                name="split_samples",
            ),
            node(
                nodes.decode_images,
                ["accepted_entries", "samples", "file_names", "raw_images", "params:ingest"],
                "images",
                name="decode_images",
            ),
            node(
                nodes.draw_masks,
                [
                    "accepted_entries",
                    "samples",
                    "raw_annotations",
                    "params:annotations",
                    "params:ingest",
                ],
                "masks",
                name="draw_masks",
            ),
            node(
                nodes.write_ingest_report,
                [
                    "accepted_entries",
                    "quarantine",
                    "samples",
                    "split_report",
                    "file_names",
                    "raw_images",
                ],
                "ingest_report",
                name="write_ingest_report",
            ),
            node(
                nodes.draw_ingest_overview,
                ["images", "masks", "samples", "quarantine"],
                "ingest_overview",
                name="draw_ingest_overview",
            ),
        ],
        tags="only_if_changed",  # see vesselrl.runner
    )
