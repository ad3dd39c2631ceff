"""Errors of hooks, told to hooks."""

from collections.abc import Generator
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline


class FailureHooks:
    """Tells all hooks of an error that came up in one of them; Kedro tells those of nodes alone."""

    def __init__(self) -> None:
        self._hook_manager: Any = None

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Remember the hooks."""
        self._hook_manager = context._hook_manager

    @hook_impl(wrapper=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> Generator[None, Any, Any]:
        """Around what comes before the nodes."""
        return (yield from self._told(run_params, pipeline, catalog))

    @hook_impl(wrapper=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> Generator[None, Any, Any]:
        """Around what comes after the nodes."""
        return (yield from self._told(run_params, pipeline, catalog))

    def _told(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> Generator[None, Any, Any]:
        try:
            return (yield)
        except Exception as error:
            self._hook_manager.hook.on_pipeline_error(
                error=error, run_params=run_params, pipeline=pipeline, catalog=catalog
            )
            raise
