"""The log of a run, and its summary."""

import contextlib
import logging
import time
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vesselrl import summary
from vesselrl.files import unused
from vesselrl.hooks.contents import (
    out_dir_of,
)

logger = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """A log file that is silent where it cannot be written: a full disk is told by the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Tell nobody."""

    def close(self) -> None:
        """Close the file, whether or not what is left fits."""
        with contextlib.suppress(OSError):
            super().close()


class RunLogHooks:
    """One log file a run, a line for each stage that begins, and a summary at the end."""

    def __init__(self) -> None:
        self._handler: _LogFile | None = None
        self._started = 0.0
        self._begun: set[str] = set()
        self._made: set[str] = set()

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Open ``<out_dir>/logs/<pipeline>_<time>.log`` and say where it is."""
        self._close()  # a run that was interrupted in this process may have left its own open
        self._started = time.monotonic()
        self._begun, self._made = set(), set()
        name = "+".join(run_params["pipeline_names"] or ["default"])
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        file = unused(out_dir_of(catalog) / "logs" / f"{name}_{stamp}.log")
        file.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _LogFile(file, encoding="utf-8")
        self._handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        )
        logging.getLogger().addHandler(self._handler)
        logger.info("Log of this run: %s", file)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Say which stage or experiment begins, as its first node does.

        Nodes tagged ``early`` run long before the rest of their stage and do not begin it.
        """
        stage = node.namespace or node.name
        if stage not in self._begun and "early" not in node.tags:
            self._begun.add(stage)
            logger.info("▸ %s", stage)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Remember what was made, for the summary."""
        self._made.add(dataset_name)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Say where the results are and what came out."""
        logger.info("Finished in %.0f s.", time.monotonic() - self._started)
        for line in summary.lines(out_dir_of(catalog), pipeline.all_outputs() | self._made):
            logger.info(line)
        self._close()

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Keep the traceback in the log file; the command line tells the error in a sentence."""
        if self._handler:
            logger.debug("The run stopped.", exc_info=error)
            error.add_note(f"The traceback is in {self._handler.baseFilename}")
        self._close()

    def _close(self) -> None:
        if self._handler:
            logging.getLogger().removeHandler(self._handler)
            self._handler.close()
            self._handler = None
