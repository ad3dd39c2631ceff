"""Nodes of the pipeline ``bundle``: a method and its scores in, the files of a bundle out."""

from collections.abc import Mapping
from typing import Any

from vesselrl.bundle.files import MANIFEST
from vesselrl.bundle.parameters import BundlingParameters
from vesselrl.report.parameters import ReportParameters
from vesselrl.samples import HELD_OUT, known_groups
from vesselrl.segmenters.parameters import SegmenterParameters


def make_bundle(
    recipe: dict[str, Any],
    recipe_check: Mapping[str, Any],
    samples: Any,
    leaderboard: Any,
    verdict: Mapping[str, Any],
    segmenter: SegmenterParameters,
    bundling: BundlingParameters,
    report: ReportParameters,
    parameters: Mapping[str, Any],
) -> dict[str, bytes]:
    """Put a method into files that are all it takes to predict with it.

    Args:
        recipe: state of the method's `vesselrl.prediction.recipe.Recipe`.
        recipe_check: how true its predicted Dice is, see `vesselrl.prediction.trials.check`.
        samples: the table of samples, of which images and groups are counted.
        leaderboard: one row a method.
        verdict: which method the report recommends, and what the test images can show.
        segmenter: of the recipe, with the paths of its files.
        bundling: what the bundle holds beside the recipe.
        report: objective and statistics.
        parameters: every parameter of the run, paths left out.

    Returns:
        Name of each file, with ``/`` between folders → its content; without the manifest.

    Raises:
        VesselrlError: ONNX is wanted and not installed, or the method was not evaluated.
    """
    import yaml
    from pydantic_core import to_jsonable_python

    from vesselrl.bundle.card import Facts, model_card
    from vesselrl.bundle.content import recipe_files
    from vesselrl.bundle.exchange import graphs
    from vesselrl.prediction.recipe import Recipe

    method = Recipe.from_state(recipe, segmenter)
    settings = to_jsonable_python(parameters)
    files = recipe_files(method)
    files["configuration.yml"] = yaml.safe_dump(settings, sort_keys=False).encode()
    if bundling.onnx:
        files |= {f"onnx/{name}.onnx": graph for name, graph in graphs(method).items()}
    seen = {"observations": settings["rl"]["observations"]}
    trained = {
        name: specification | seen
        for name, specification in (settings["experiments"] | settings["regressors"]).items()
    }
    leaking = known_groups(samples, segmenter.learned_from(), *HELD_OUT)
    card = model_card(
        Facts(method, recipe_check, samples, leaking, leaderboard, verdict, trained, report),
        [*files, MANIFEST],
        bundling.licence,
    )
    return {"README.md": card.encode(), **files}
