"""Results that are sent elsewhere when a run has ended."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from vesselrl.hooks.contents import (
    PREDICTIONS,
    out_dir_of,
)
from vesselrl.storage import mirror, require_store

logger = logging.getLogger(__name__)


class PublishHooks:
    """Copies the results of ``predict`` to where ``publish_to`` says, if it says anything."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Stop before the work if its results could not be sent."""
        if url := _place(pipeline, catalog):
            require_store(url)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Send what is new, and remove what is no longer true."""
        if url := _place(pipeline, catalog):
            sent, removed = mirror(out_dir_of(catalog) / PREDICTIONS, url)
            logger.info("%s: %d files sent, %d removed.", url, sent, removed)


def _place(pipeline: Pipeline, catalog: Any) -> str | None:
    """Where the results of a run go, None if nowhere."""
    if "params:publish_to" not in catalog or "new_predictions" not in pipeline.all_outputs():
        return None
    return str(catalog.load("params:publish_to"))
