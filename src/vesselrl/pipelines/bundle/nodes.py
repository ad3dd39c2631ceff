"""Nodes of the pipeline ``bundle``: a method and its scores in, the files of a bundle out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vesselrl.bundle.parameters import BundlingParameters
from vesselrl.report.parameters import ReportParameters

if TYPE_CHECKING:
    from vesselrl.bundle.files import Bundle
    from vesselrl.prediction.recipe import Recipe


def make_bundle(
    recipe: "Recipe",
    samples: Any,
    leaderboard: Any,
    verdict: Mapping[str, Any],
    bundling: BundlingParameters,
    report: ReportParameters,
    parameters: Mapping[str, Any],
) -> "Bundle":
    """Put a method into files that are all it takes to predict with it.

    Args:
        recipe: of the method.
        samples: the table of samples, of which images and groups are counted.
        leaderboard: one row a method.
        verdict: which method the report recommends, and what the test images can show.
        bundling: what the bundle holds beside the recipe.
        report: objective and statistics.
        parameters: every parameter of the run, paths left out.

    Raises:
        VesselrlError: ONNX is wanted and not installed, or the method was not evaluated.
    """
    import yaml
    from pydantic_core import to_jsonable_python

    from vesselrl.bundle.card import model_card
    from vesselrl.bundle.content import recipe_files
    from vesselrl.bundle.exchange import graphs
    from vesselrl.bundle.files import Bundle

    settings = to_jsonable_python(parameters)
    files = recipe_files(recipe)
    files["configuration.yml"] = yaml.safe_dump(settings, sort_keys=False).encode()
    if bundling.onnx:
        files |= {f"onnx/{name}.onnx": graph for name, graph in graphs(recipe).items()}
    seen = {"observations": settings["rl"]["observations"]}
    trained = {
        name: specification | seen
        for name, specification in (settings["experiments"] | settings["regressors"]).items()
    }
    card = model_card(
        recipe, samples, leaderboard, verdict, trained, list(files), bundling.licence, report
    )
    return Bundle({"README.md": card.encode(), **files}, bundling.zip)
