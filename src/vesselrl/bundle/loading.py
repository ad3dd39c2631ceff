"""From a bundle to what predicts with it. Kedro is not needed."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from vesselrl.bundle.content import SEGMENTER, recipe_of
from vesselrl.bundle.files import read_files
from vesselrl.errors import VesselrlError
from vesselrl.prediction.predictor import Predictor
from vesselrl.segmenters.base import build_segmenter


def load(path: str | PathLike[str], segmenter: Mapping[str, Any] | None = None) -> Predictor:
    """Open a bundle; see `vesselrl.load_bundle`."""
    place = Path(path).expanduser()
    files = read_files(place)
    unpacked = None
    weights = place / SEGMENTER
    if SEGMENTER in files and not place.is_dir():
        unpacked = Path(tempfile.mkdtemp(prefix="vesselrl-"))
        weights = unpacked / SEGMENTER
        weights.write_bytes(files[SEGMENTER])
    predictor = None
    try:
        recipe = recipe_of(files, weights, segmenter or {})
        # What is checked now is used, whatever becomes of the folder; models of users load late.
        own = build_segmenter(recipe.segmenter) if SEGMENTER in files else None
        predictor = Predictor(recipe, own)
    except VesselrlError:
        raise
    # The files are as they were written: who wrote them wrote something else than a recipe, and
    # errors of many kinds come of that.
    except Exception as error:
        raise VesselrlError(
            f"{place} does not hold what a bundle holds ({error!r:.200}): make it again with this "
            "version of vesselrl."
        ) from error
    finally:
        if predictor is None:
            _forget(unpacked)
    weakref.finalize(predictor, _forget, unpacked)
    return predictor


def _forget(folder: Path | None) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
