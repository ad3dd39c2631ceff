"""Stale or missing stages, made before what was asked for."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from vesselrl import provenance
from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.errors import VesselrlError
from vesselrl.hashes import ContentHashes
from vesselrl.hooks.contents import (
    HASHES,
    everything,
    fingerprint_of_source,
    is_optional,
    listing,
    out_dir_of,
)

logger = logging.getLogger(__name__)

SOURCE = "raw_dir"
"""Under this name the ledger notes which data an output folder was made from."""


class ProvenanceHooks:
    """Runs stale or missing upstream stages first and records what made each artefact."""

    def __init__(self) -> None:
        self._hook_manager: Any = None
        self._expected: dict[str, str] = {}
        self._ledger: provenance.Ledger | None = None
        self._catalog: Any = None
        self._project = Path()
        self._source: provenance.Record | None = None

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Remember the hooks, which the stages run first need too, and where the project is."""
        self._hook_manager = context._hook_manager
        self._project = Path(context.project_path)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Bring the inputs of the pipeline up to date."""
        whole = _but_for_what_is_given(everything(), catalog)
        self._catalog = catalog
        self._ledger = provenance.Ledger(out_dir_of(catalog))
        if "params:pixel_rl" in pipeline.inputs():  # two groups, which only together can be wrong
            stride = catalog.load("params:supervised").training.architecture.stride
            catalog.load("params:pixel_rl").policy.check_stride(stride)
        self._refuse_other_source(run_params, pipeline, catalog)
        coming = pipeline.all_outputs()
        _pseudonym_key(catalog)  # drawn before it is fingerprinted with the sources
        hashes = ContentHashes(out_dir_of(catalog) / HASHES)
        source = cache(lambda name: fingerprint_of_source(catalog, name, hashes))

        def is_fresh(name: str) -> bool:
            return self.is_fresh(name, catalog)

        missing = _not_asked_for(whole, catalog) - coming
        # a stage that only its own name asks for is not run for what others could do without
        left_out = missing - pipelines["__default__"].all_outputs()
        wanted, absent = pipeline.inputs() - missing, missing
        first: list[Node] = []
        while True:  # what is made first is not absent when it is asked for: in most runs, nothing
            self._expected = provenance.expected_fingerprints(whole, catalog.load, source, absent)
            first = provenance.nodes_to_refresh(
                whole, wanted, lambda name: name in left_out or is_fresh(name)
            )
            still = absent.difference(*(node.outputs for node in first))
            if still == absent:
                break
            absent = still
        hashes.forget_unasked()
        if run_params["only_missing_outputs"]:
            stale = [name for name in sorted(coming) if catalog.exists(name) and not is_fresh(name)]
            if stale:
                raise VesselrlError(
                    f"{', '.join(stale)}: made from other data or parameters than the present ones;"
                    " run the same command without --only-missing-outputs to make them again."
                )
        if first:
            upstream = Pipeline(first)
            logger.info(
                "Missing or out of date, so made first: %s",
                ", ".join(sorted(wanted & upstream.all_outputs())),
            )
            SequentialRunner().run(upstream, catalog, self._hook_manager)

    def is_fresh(self, name: str, catalog: Any) -> bool:
        """Whether a dataset is there and made from the present data and parameters."""
        record = self._ledger.get(name) if self._ledger else None
        return (
            record is not None
            and record.fingerprint == self._expected.get(name)
            and bool(catalog.exists(name))
            and record.files == listing(catalog, name)
        )

    def _refuse_other_source(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Stop before one data set's results are replaced by another's for want of a word."""
        self._source = None
        if self._ledger is None or "samples" not in pipeline.datasets():
            return
        path = Path(catalog.load("params:raw_dir"))
        if path.is_relative_to(self._project):
            path = path.relative_to(self._project)  # a project may be moved
        names = _names_of(path, catalog)
        record, named = self._ledger.get(SOURCE), "raw_dir" in run_params["runtime_params"]
        if record and record.fingerprint not in names and not named:
            is_hidden = catalog.exists("pseudonym_key")
            earlier = "<another folder>" if is_hidden else record.fingerprint
            raise VesselrlError(
                f"{out_dir_of(catalog)} holds results made from {earlier}, and this run would "
                f"replace them by those of {path}: add raw_dir={earlier} to --params, or another "
                "out_dir. (To replace them, name the raw_dir.)"
            )
        self._source = provenance.Record(names[0], "")

    @hook_impl
    def before_dataset_saved(self, dataset_name: str) -> None:
        """From here until it is complete, the dataset counts as stale."""
        if self._ledger:
            self._ledger.forget(dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """The dataset is complete: note what it was made from."""
        if self._ledger and dataset_name in self._expected:
            if self._source and self._ledger.get(SOURCE) != self._source:
                self._ledger.record(SOURCE, self._source)
            files = listing(self._catalog, dataset_name)
            self._ledger.record(
                dataset_name, provenance.Record(self._expected[dataset_name], files)
            )
            # The same data and parameters as before, and yet others than what follows was made of.
            if getattr(self._catalog.get(dataset_name), "replaced", False):
                for name in everything().from_inputs(dataset_name).all_outputs():
                    self._ledger.forget(name)


def _but_for_what_is_given(whole: Pipeline, catalog: Any) -> Pipeline:
    """Without the nodes whose output is another's this time (``is_given`` of its dataset)."""
    given = {name for name in whole.all_outputs() if getattr(catalog.get(name), "is_given", False)}
    return Pipeline([node for node in whole.nodes if given.isdisjoint(node.outputs)])


def _pseudonym_key(catalog: Any) -> bytes | None:
    """The key, drawn if there is none yet; None where names are not replaced."""
    return catalog.load("pseudonym_key")() if catalog.load("params:pseudonymise") else None


def _names_of(path: Path, catalog: Any) -> list[str]:
    """The names under which the ledger may have a path: that of this run, and its pseudonym.

    The latter is there too where an earlier run replaced names and this one does not.
    """
    keys = [_pseudonym_key(catalog)]
    if catalog.exists("pseudonym_key"):
        keys.append(catalog.load("pseudonym_key")())
    return [Pseudonyms(key).text(str(path)) for key in keys]


def _not_asked_for(whole: Pipeline, catalog: Any) -> set[str]:
    """Optional datasets that are not there, but for those of stages of which others are.

    What a stage was run for is whole or made so: a training that begins puts away what an earlier
    one left beside it, and may be broken off.
    """
    stage_of = {name: node.namespace for node in whole.nodes for name in node.outputs}
    optional = {name for name in whole.datasets() if is_optional(catalog, name)}
    there = {name for name in optional if catalog.exists(name)}
    begun = {stage_of[name] for name in there if name in stage_of}
    return {n for n in optional - there if n not in stage_of or stage_of[n] not in begun}
