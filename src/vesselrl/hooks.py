"""What happens around a run: parameters resolved, a log opened, stale or missing stages made."""

import logging
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from vesselrl import overrides, provenance, summary
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import FILES, GIVEN_POLICY
from vesselrl.hashes import ContentHashes
from vesselrl.storage import is_remote, mirror

logger = logging.getLogger(__name__)

HASHES = Path("cache/hashes.tsv")  # below out_dir; the catalog's raw_hashes is the same file
PREDICTIONS = Path("07_model_output/predict")  # likewise
SOURCE = "raw_dir"
"""Under this name the ledger notes which data an output folder was made from."""


class ParameterHooks:
    """Folds ``quick_overrides`` and ``--params`` into the parameters and validates all of them."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._project = Path()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Give the context the merged parameters and this run's paths."""
        loader = context.config_loader
        given = dict(loader.runtime_params or {})
        loader.runtime_params = {}  # conf alone first, to know which keys exist
        merged, paths = overrides.resolve(loader["parameters"], loader["globals"], given)
        self._project = Path(context.project_path)
        paths = {
            key: value if is_remote(value) else str(self._anchored(value))
            for key, value in paths.items()
        }
        _refuse_results_among_images(paths)
        if model := paths.get("model_path"):
            merged["evaluation"]["methods"][GIVEN_POLICY] = {"kind": "policy", "path": model}
        loader.runtime_params = self._paths = paths
        loader["parameters"] = {**merged, **paths}

    @hook_impl
    def after_catalog_created(self, catalog: Any, parameters: dict[str, Any]) -> None:
        """Validate the parameters of every stage: a stage run first may need any of them.

        (Kedro validates those of the pipelines that were asked for.)
        """
        from kedro.validation import ParameterValidator

        validator = ParameterValidator(dict(pipelines))
        validated = validator.validate_raw_params(parameters["parameters"])
        # Where the files lie is no setting: a moved project is not stale, and paths may hold names.
        paths = self._paths
        catalog["parameters"] = {k: v for k, v in validated.items() if k not in paths}
        whole = _everything()
        for name in whole.inputs():
            if name.startswith("params:"):
                catalog[name] = _at(validated, name.removeprefix("params:"))
        self._point_to_files(catalog)
        if bundle := paths.get("bundle"):
            from vesselrl.datasets.bundle import use_bundle

            use_bundle(catalog, Path(bundle))

    def _point_to_files(self, catalog: Any) -> None:
        """Tell the datasets of what the user gives by a path in the parameters where it is."""
        replaced = [out_dir_of(catalog) / made for made in ("03_primary", "07_model_output")]
        for name, method in catalog.load("params:evaluation").methods.items():
            if method.path:
                path = self._anchored(method.path)
                if any(path.resolve().is_relative_to(made.resolve()) for made in replaced):
                    raise VesselrlError(
                        f"evaluation.methods.{name}.path is {path}, in a folder that this run "
                        "would replace: copy it elsewhere."
                    )
                catalog.get(FILES[method.kind]).paths[name] = path
        if file := catalog.load("params:supervised").starting_file:
            catalog.get("starting_weights").path = self._anchored(str(file))

    def _anchored(self, path: str) -> Path:
        """Absolute paths as they are, relative ones within the project."""
        return self._project / Path(path).expanduser()


class RunLogHooks:
    """One log file a run, a line for each stage that begins, and a summary at the end."""

    def __init__(self) -> None:
        self._handler: logging.FileHandler | None = None
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
        file = out_dir_of(catalog) / "logs" / f"{name}_{stamp}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._handler = logging.FileHandler(file, encoding="utf-8")
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


class PublishHooks:
    """Copies the results of ``predict`` to where ``publish_to`` says, if it says anything."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Send what is new, and remove what is no longer true."""
        if "params:publish_to" not in catalog or "new_predictions" not in pipeline.all_outputs():
            return
        url = catalog.load("params:publish_to")
        sent, removed = mirror(out_dir_of(catalog) / PREDICTIONS, url)
        logger.info("%s: %d files sent, %d removed.", url, sent, removed)


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
        try:
            self._bring_up_to_date(run_params, pipeline, catalog)
        except Exception as error:
            # Kedro tells the hooks of errors that come later than this one.
            self._hook_manager.hook.on_pipeline_error(
                error=error, run_params=run_params, pipeline=pipeline, catalog=catalog
            )
            raise

    def is_fresh(self, name: str, catalog: Any) -> bool:
        """Whether a dataset is there and made from the present data and parameters."""
        record = self._ledger.get(name) if self._ledger else None
        return (
            record is not None
            and record.fingerprint == self._expected.get(name)
            and bool(catalog.exists(name))
            and record.files == listing(catalog, name)
        )

    def _bring_up_to_date(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        _refuse_what_is_given(pipeline, catalog)
        for name in pipeline.inputs():
            if require := getattr(catalog.get(name), "require", None):
                require()  # what only the user can give is missed before hours of work, not after
        whole = _but_for_what_is_given(_everything(), catalog)
        self._catalog = catalog
        self._ledger = provenance.Ledger(out_dir_of(catalog))
        if "params:pixel_rl" in pipeline.inputs():  # two groups, which only together can be wrong
            stride = catalog.load("params:supervised").training.architecture.stride
            catalog.load("params:pixel_rl").policy.check_stride(stride)
        self._refuse_other_source(run_params, pipeline, catalog)
        coming = pipeline.all_outputs()
        if catalog.load("params:pseudonymise"):
            catalog.load("pseudonym_key")()  # drawn before it is fingerprinted with the sources
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

    def _refuse_other_source(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Stop before one data set's results are replaced by another's for want of a word."""
        self._source = None
        if self._ledger is None or "samples" not in pipeline.datasets():
            return
        source = Path(catalog.load("params:raw_dir"))
        if source.is_relative_to(self._project):
            source = source.relative_to(self._project)  # a project may be moved
        record, named = self._ledger.get(SOURCE), "raw_dir" in run_params["runtime_params"]
        if record and record.fingerprint != str(source) and not named:
            raise VesselrlError(
                f"{out_dir_of(catalog)} holds results made from {record.fingerprint}, and this run "
                f"would replace them by those of {source}: add raw_dir={record.fingerprint} to "
                "--params, or another out_dir. (To replace them, name the raw_dir.)"
            )
        self._source = provenance.Record(str(source), "")

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
                for name in _everything().from_inputs(dataset_name).all_outputs():
                    self._ledger.forget(name)


def _everything() -> Pipeline:
    """All registered pipelines as one."""
    return sum(pipelines.values(), Pipeline([]))


def _but_for_what_is_given(whole: Pipeline, catalog: Any) -> Pipeline:
    """Without the nodes whose output is another's this time (``is_given`` of its dataset)."""
    given = {name for name in whole.all_outputs() if getattr(catalog.get(name), "is_given", False)}
    return Pipeline([node for node in whole.nodes if given.isdisjoint(node.outputs)])


def _refuse_results_among_images(paths: Mapping[str, str]) -> None:
    """Stop before the masks of a run are the images of the next."""
    images = paths.get("input_dir")
    results = {
        "out_dir": str(Path(paths["out_dir"]) / PREDICTIONS),
        "publish_to": paths.get("publish_to"),
    }
    for name, folder in results.items():
        if images and folder and _is_within(folder, images):
            raise VesselrlError(
                f"Masks of new images would be in {folder}, which is in input_dir, {images}: the "
                f"next run would take them for images. Give another {name}."
            )


def _is_within(folder: str, other: str) -> bool:
    if is_remote(folder) or is_remote(other):
        return f"{folder.rstrip('/')}/".startswith(f"{other.rstrip('/')}/")
    return Path(folder).resolve().is_relative_to(Path(other).resolve())


def _refuse_what_is_given(pipeline: Pipeline, catalog: Any) -> None:
    """With a bundle, stop whatever would make its recipe, or something else than predictions.

    ``kedro run`` asks for the right nodes; who runs pipelines in another way has to.
    """
    is_given = getattr(catalog.get("recipe"), "is_given", False)
    if is_given and any(node.namespace != "predict" for node in pipeline.nodes):
        raise VesselrlError(
            "A bundle was given, which stands for all that predict needs, and other nodes than "
            "predict's own were asked for: name the pipeline predict and the namespace predict "
            '(over HTTP: "namespaces": ["predict"]).'
        )


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


def _at(tree: Any, path: str) -> Any:
    """What a dotted path names within parameters, whether plain or validated into models."""
    for key in path.split("."):
        try:
            tree = tree[key] if isinstance(tree, Mapping) else getattr(tree, key)
        except (KeyError, AttributeError) as error:
            raise VesselrlError(
                f"The parameter '{path}' is missing: give it in conf, as conf/base does."
            ) from error
    return tree


def out_dir_of(catalog: Any) -> Path:
    """The folder under which this run writes."""
    return Path(catalog.load("params:out_dir"))


def is_optional(catalog: Any, name: str) -> bool:
    """Whether a dataset may be absent (``metadata: {optional: true}`` in the catalog)."""
    metadata = getattr(catalog.get(name), "metadata", None) or {}
    return bool(metadata.get("optional"))


def fingerprint_of_source(catalog: Any, name: str, hashes: ContentHashes) -> str:
    """The fingerprint of a dataset that no stage makes: the content of its file or folder.

    A dataset may have another in an attribute ``fingerprint``, or several paths in ``sources``.
    """
    dataset = catalog.get(name)
    if own := getattr(dataset, "fingerprint", None):
        return str(own)
    path = _path_of(catalog, name)
    paths = getattr(dataset, "sources", [path] if path else [])
    found = [provenance.digest_of_path(Path(one), hashes) for one in paths]
    return provenance.digest(found) if found else "none"


def listing(catalog: Any, name: str) -> str:
    """Tells whether a file of a dataset has gone or changed its size since it was written."""
    path = _path_of(catalog, name)
    return provenance.listing_of_path(path) if path else ""


def _path_of(catalog: Any, name: str) -> Path | None:
    """The file or folder of a dataset, None where it has none of its own."""
    dataset = catalog.get(name)
    path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
    return Path(str(path)) if path else None
