"""What a bundle holds of a recipe, and the recipe that comes out of it again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vesselrl.errors import VesselrlError
from vesselrl.evaluation.methods import NETWORK
from vesselrl.prediction.recipe import Recipe
from vesselrl.segmenters.parameters import SegmenterParameters, parameters_class
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters
from vesselrl.segmenters.unet.parameters import UnetParameters
from vesselrl.states import joined, parted

RECIPE = "recipe.json"
"""All plain values of the recipe, null where ``weights.safetensors`` has a tensor."""
WEIGHTS = "weights.safetensors"
SEGMENTER = "segmenter.safetensors"
"""Weights of the segmenter ``unet``, as they are where ``segmenter.weights`` names them."""
MODEL = "segmenter_model"
"""Beside the recipe: a `Model`, or null."""
IDENTITIES = {"unet": "weights_sha256", "sa2va": "weights"}
"""Kind of segmenter → what its parameters compute of its weights' files, to tell them apart."""


@dataclass(frozen=True)
class Model:
    """Which Sa2VA a method asks, whose files are not in the bundle.

    Attributes:
        name: its id on the hub, or the name of its folder, without the path.
        revision: its commit on the hub.
        is_folder: whether it was in a folder, which may be elsewhere on another machine.
    """

    name: str
    revision: str | None
    is_folder: bool


def recipe_files(recipe: Recipe) -> dict[str, bytes]:
    """The files of a recipe, without paths of this machine."""
    from safetensors.torch import save

    plain, tensors = parted(recipe.state())
    model = _model_of(recipe.segmenter)
    told = {"recipe": json.loads(plain), MODEL: model and asdict(model)}
    files = {RECIPE: json.dumps(told, indent=1).encode(), WEIGHTS: save(tensors)}
    if isinstance(recipe.segmenter, UnetParameters):
        files[SEGMENTER] = recipe.segmenter.file.read_bytes()
    return files


def _model_of(segmenter: SegmenterParameters) -> Model | None:
    if not isinstance(segmenter, Sa2vaParameters):
        return None
    folder = Path(segmenter.path).expanduser()
    if folder.is_dir():
        return Model(folder.resolve().name, None, is_folder=True)
    return Model(segmenter.path, segmenter.revision, is_folder=False)


def segmenter_kind(files: Mapping[str, bytes]) -> str:
    """Which segmenter the recipe that `recipe_files` wrote asks; ‘unknown’ if it is no recipe."""
    try:
        return str(json.loads(files[RECIPE])["recipe"]["segmenter"]["kind"])
    except (KeyError, TypeError, ValueError):
        return "unknown"


def recipe_of(files: Mapping[str, bytes], weights: Path, given: Mapping[str, Any]) -> Recipe:
    """The recipe that `recipe_files` wrote.

    Args:
        files: of the bundle.
        weights: where the file `SEGMENTER` is, if there is one.
        given: settings of the segmenter that change no result, such as ``path`` and ``device``.

    Raises:
        VesselrlError: a setting would change results, the bundle sets what only its user may,
            such as ``trust_remote_code``, or the segmenter's model is another than that of the
            bundle.
    """
    from safetensors.torch import load

    told = json.loads(files[RECIPE])
    state = joined(json.dumps(told["recipe"]), load(files[WEIGHTS]))
    is_asked = state["method"]["kind"] != NETWORK or state["rating"] == "all"
    model = told[MODEL] and Model(**told[MODEL])
    segmenter = _segmenter_of(dict(state["segmenter"]), model, is_asked, files, weights, given)
    # Of a model that is not asked nobody knows here what its weights are.
    return Recipe.from_state({**state, "segmenter": segmenter.model_dump(mode="json")}, segmenter)


def _segmenter_of(
    values: dict[str, Any],
    model: Model | None,
    is_asked: bool,
    files: Mapping[str, bytes],
    weights: Path,
    given: Mapping[str, Any],
) -> SegmenterParameters:
    kind = values["kind"]
    fields = parameters_class(kind).model_fields
    free = [name for name, field in fields.items() if field.exclude]
    if wrong := [name for name in given if name not in free]:
        raise VesselrlError(
            f"segmenter.{wrong[0]} cannot be set for a bundle: the method was chosen and measured "
            f"with what the bundle says. What can be set is {', '.join(free)}."
        )
    if wrong := [name for name in free if name in values]:
        raise VesselrlError(
            f"{RECIPE} of the bundle sets segmenter.{wrong[0]}, which only who uses a bundle may "
            "set, and no bundle of vesselrl does: do not use this bundle."
        )
    expected = values.pop(IDENTITIES[kind]) if kind in IDENTITIES else None
    unset: dict[str, Any] = {}
    if kind == "unet":
        unset = {"weights": str(weights)}
    elif model is not None:
        # Whoever trusts the code of a model says of which: a bundle may name any on the hub.
        is_to_be_named = model.is_folder or given.get("trust_remote_code")
        if is_to_be_named and is_asked and "path" not in given:
            raise VesselrlError(
                f"The bundle's method asks the Sa2VA model ‘{model.name}’, which is "
                "no part of the bundle: say where it is, with segmenter={'path': "
                f"'/path/to/{model.name}'}} in load_bundle, or with --env sa2va --params "
                f"segmenter.path=/path/to/{model.name} in kedro run."
            )
        unset = {"path": model.name, "revision": model.revision, "device": None}
    segmenter = SegmenterParameters.model_validate({**values, **unset, **given})
    if isinstance(segmenter, UnetParameters) and "weights" not in given:
        # What was read is what is used, whatever becomes of the file until it is loaded.
        segmenter = segmenter.holding(hashlib.sha256(files[SEGMENTER]).hexdigest())
    if expected is not None and is_asked:
        found = segmenter.model_dump(mode="json")[IDENTITIES[kind]]
        if found != expected:
            raise VesselrlError(
                f"The segmenter's weights ({found}) are not those that the bundle's method was "
                f"chosen and measured with ({expected}): give it those, or make a new bundle."
            )
    return segmenter
