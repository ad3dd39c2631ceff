"""Parameters of a run: resolved, checked, and given to the catalog."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from vesselrl import overrides
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import FILES, GIVEN_POLICY
from vesselrl.hooks.contents import (
    PREDICTIONS,
    everything,
    out_dir_of,
)
from vesselrl.storage import is_remote

logger = logging.getLogger(__name__)


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
        if bundle := paths.get("bundle"):
            from vesselrl.datasets.bundle import refuse_needless_model

            refuse_needless_model(Path(bundle), merged["segmenter"]["kind"])
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
        whole = everything()
        for name in whole.inputs():
            if name.startswith("params:"):
                catalog[name] = _at(validated, name.removeprefix("params:"))
        self._tell_datasets(catalog)
        if bundle := paths.get("bundle"):
            from vesselrl.datasets.bundle import use_bundle

            use_bundle(catalog, Path(bundle))

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Stop before what only the user can give is missed after hours of work."""
        _refuse_what_is_given(pipeline, catalog)
        _warn_of_the_sample(self._paths)
        for name in pipeline.inputs():
            if require := getattr(catalog.get(name), "require", None):
                require()

    def _tell_datasets(self, catalog: Any) -> None:
        """Tell datasets what parameters say of them: where a user's files are, mostly."""
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
        catalog.get("bundle").is_zipped = catalog.load("params:bundling").zip

    def _anchored(self, path: str) -> Path:
        """Absolute paths as they are, relative ones within the project; none with ``..`` in it."""
        anchored = self._project / Path(path).expanduser()
        return anchored.resolve() if ".." in anchored.parts else anchored


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


def _warn_of_the_sample(paths: Mapping[str, str]) -> None:
    """Who leaves out the ``raw_dir`` of the training gets masks by a method for other images."""
    if "input_dir" in paths and "bundle" not in paths and paths["raw_dir"] == paths["sample_dir"]:
        logger.warning(
            "The method for the new images is that of the embedded sample, which is drawn: for "
            "that of your own data give the raw_dir and out_dir of its training as well."
        )


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


def _is_within(folder: str, other: str) -> bool:
    if is_remote(folder) or is_remote(other):
        return f"{folder.rstrip('/')}/".startswith(f"{other.rstrip('/')}/")
    return Path(folder).resolve().is_relative_to(Path(other).resolve())


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
