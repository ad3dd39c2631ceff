"""Wiring of the pipeline ``ingest``."""

from kedro.pipeline import Pipeline, node

from vesselrl.pipelines.ingest import nodes


def create_pipeline() -> Pipeline:
    """Raw annotations → accepted or quarantined → samples in splits → images and masks → report."""
    return Pipeline(
        [
            node(
                nodes.check_annotations,
                ["raw_annotations", "raw_images", "params:ingest"],
                ["accepted_entries", "quarantine"],
                name="check_annotations",
            ),
            node(
                nodes.split_samples,
                ["accepted_entries", "raw_groups", "raw_splits", "params:split", "params:seed"],
                ["samples", "split_report"],
                name="split_samples",
            ),
            node(
                nodes.decode_images,
                ["samples", "raw_images", "params:ingest"],
                "images",
                name="decode_images",
            ),
            node(
                nodes.draw_masks,
                ["samples", "accepted_entries"],
                "masks",
                name="draw_masks",
            ),
            node(
                nodes.write_ingest_report,
                ["accepted_entries", "quarantine", "samples", "split_report", "raw_images"],
                "ingest_report",
                name="write_ingest_report",
            ),
            node(
                nodes.draw_ingest_overview,
                ["images", "masks", "samples"],
                "ingest_overview",
                name="draw_ingest_overview",
            ),
        ]
    )
