"""What predicted Dice and its intervals are worth, for every method, on a finished run's images.

    python benchmarks/predict.py --raw-dir /data/mine --out-dir /data/results [--split test]
                                 [--methods static supervised ...] [--ratings needed all]

Nothing is trained and nothing written: the recipe of each method is put together and calibrated on
the validation images, as the pipeline ``recipe`` does, and its masks of the split's images are
compared with the truth. Of ``val``, each image's Dice and interval are those of a calibration
without its group. See `vesselrl.prediction.trials.check` for the columns. *Odd* is the share of the
images with an out-of-distribution score above 0.95, *odd_reversed* and *odd_blurred* that of the
same images with reversed grey values, and averaged over 9 × 9 pixels.
"""

import argparse
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import finished_run, table
from scipy import ndimage

from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import NETWORKS
from vesselrl.pipelines.recipe import nodes
from vesselrl.prediction.recipe import Recipe, why_not
from vesselrl.prediction.trials import calibration_of, check
from vesselrl.rl.observations import image_features
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS

COLUMNS = (
    "method", "rating", "images", "groups", "covered", "width", "mean_error", "spearman",
    "worst_found", "odd", "odd_reversed", "odd_blurred",
)  # fmt: skip
ODD = 0.95


def measured(catalog: Any, method: str, rating: str, split: str, coverage: float) -> dict[str, Any]:
    """One row of the table."""
    load = catalog.load
    samples, segmenter = load("samples"), load("params:segmenter")
    recipe = nodes.write_recipe(
        load("verdict"), load("static_setting"), load("operating_points"), load("reward_network"),
        load("finished_policies"), method, rating, load("params:evaluation"), segmenter,
        load("params:actions"), load("params:report.objective"),
        **{name: load(f"{name}.policies") for name in (*EXPERIMENTS, *REGRESSORS)},
        **{f"{name}{nodes.NETWORKS}": load(f"{name}.networks_in_use") for name in NETWORKS},
    )  # fmt: skip
    shown = samples[samples["split"].isin(["val", split])]
    trials = nodes.try_recipe(
        recipe, load("images"), load("masks"), load("candidates"), shown, segmenter
    )
    calibrated = nodes.calibrate_recipe(
        recipe, trials, load("images"), samples, segmenter, coverage
    )
    calibration = Recipe.from_state(calibrated, segmenter).calibration
    own = trials[trials["split"] == split]
    return {
        "method": method,
        "rating": rating,
        **(check(calibration, own) if split != "val" else _left_out(own, coverage)),
        **_odd(calibration, load("images"), own["image"]),
    }


def _left_out(trials: pd.DataFrame, coverage: float) -> dict[str, Any]:
    """The check of validation images, each by a calibration without its group."""
    parts: list[dict[str, Any]] = []
    for group in trials["group"].unique():
        is_own = trials["group"] == group
        parts.append(check(calibration_of(trials[~is_own], coverage, None), trials[is_own]))
    sizes = [part["images"] for part in parts]
    means = {
        name: float(np.average([part[name] for part in parts], weights=sizes))
        for name in ("covered", "width", "mean_error")
    }
    return {"images": len(trials), "groups": len(parts), **means}


def _odd(calibration: Any, images: Any, samples: Any) -> dict[str, float]:
    shown = [images[sample]() for sample in samples]
    changed = {
        "odd": shown,
        "odd_reversed": [255 - image for image in shown],
        "odd_blurred": [ndimage.uniform_filter(image, 9) for image in shown],
    }
    return {
        name: float(
            np.mean(
                [
                    calibration.out_of_distribution(partial(image_features, image)) > ODD
                    for image in of
                ]
            )
        )
        for name, of in changed.items()
    }


def rows(catalog: Any, arguments: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """The rows of the table, those of methods that were not trained left out."""
    methods = catalog.load("params:evaluation").methods
    names = arguments.methods or [n for n, m in methods.items() if not why_not(m)]
    coverage = catalog.load("params:predict.coverage")
    for name in names:
        for rating in arguments.ratings:
            try:
                found = measured(catalog, name, rating, arguments.split, coverage)
            except VesselrlError as error:
                logging.getLogger(__name__).warning("%s", error)
                break
            cells = (found.get(column) for column in COLUMNS)
            yield tuple(f"{c:.3f}" if isinstance(c, float) else str(c or "–") for c in cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--raw-dir", type=Path, required=True, help="of the finished run")
    parser.add_argument("--out-dir", type=Path, required=True, help="of the finished run")
    parser.add_argument("--split", choices=["val", "test"], default="test")
    parser.add_argument("--methods", nargs="+", help="all that can be applied to new images")
    parser.add_argument("--ratings", nargs="+", default=["needed", "all"])
    arguments = parser.parse_args()
    catalog = finished_run(arguments.raw_dir, arguments.out_dir).catalog
    print(table([COLUMNS, *rows(catalog, arguments)]))


if __name__ == "__main__":
    main()
