"""Runs a pipeline, but for what would be made again from the same data in the same way."""

import logging
from typing import Any

from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from vesselrl.hooks.stages import ProvenanceHooks

logger = logging.getLogger(__name__)

TAG = "only_if_changed"


class SparingRunner(SequentialRunner):
    """Runs nodes one after the other, and leaves out some that would change nothing.

    Left out is a node with the tag ``only_if_changed`` whose outputs are all up to date, unless a
    node that it depends on is run.
    """

    @property
    def _logger(self) -> logging.Logger:
        # What Kedro's runners have to say goes to the log file, not to the console.
        return logging.getLogger("kedro.runner")

    def run(
        self, pipeline: Pipeline, catalog: Any, hook_manager: Any = None, *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Run what is left; see Kedro's runner."""
        for _, plugin in hook_manager.list_name_plugin() if hook_manager else ():
            if isinstance(plugin, ProvenanceHooks):
                pipeline = self._without_fresh(pipeline, catalog, plugin)
        ran: dict[str, Any] = super().run(pipeline, catalog, hook_manager, *args, **options)
        return ran

    def _without_fresh(self, pipeline: Pipeline, catalog: Any, record: ProvenanceHooks) -> Pipeline:
        left: list[Any] = []
        fresh: list[Any] = []
        remade: set[str] = set()
        for node in pipeline.nodes:  # in an order in which they can run
            is_fresh = (
                TAG in node.tags
                and remade.isdisjoint(node.inputs)
                and all(record.is_fresh(name, catalog) for name in node.outputs)
            )
            if is_fresh:
                fresh.append(node)
            else:
                left.append(node)
                remade.update(node.outputs)
        if fresh:
            logger.info(
                "Nothing changed, so left as it is: %s", ", ".join(node.name for node in fresh)
            )
        return Pipeline(left)
