"""Nodes of the pipeline ``recipe``: what was trained in, one method ready for new images out."""

import logging
from collections.abc import Mapping
from typing import Any

from vesselrl.evaluation.parameters import EvaluationParameters
from vesselrl.pipelines import Partitions
from vesselrl.prediction.parameters import RECOMMENDED, Rating
from vesselrl.progress import with_progress
from vesselrl.rl.parameters import ActionParameters
from vesselrl.samples import ids_of, of_splits
from vesselrl.segmenters.parameters import SegmenterParameters

logger = logging.getLogger(__name__)

NETWORKS = "_networks"
"""Ends the names of the arguments that are a pipeline's networks, for use."""


def write_recipe(
    verdict: Mapping[str, Any],
    static_setting: Mapping[str, Any],
    operating_points: Mapping[str, Mapping[str, float]],
    reward_network: dict[str, Any],
    finished_policies: Mapping[str, Any],
    method: str,
    rating: Rating,
    evaluation: EvaluationParameters,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    objective: list[str],
    **trained: Mapping[Any, Any],
) -> dict[str, Any]:
    """Put together what the chosen method needs on a new image.

    Args:
        verdict: of which ``recommended``, ``below_random`` and the order of the methods are read.
        static_setting: of which ``index`` is read.
        operating_points: run → where the map of its network is cut.
        reward_network: state of the `RewardNetwork`.
        finished_policies: method → the policy its path leads to.
        method: which one.
        rating: whether masks are rated after the prompts that the method needs, or after all.
        evaluation: the methods.
        segmenter: the prompts.
        actions: thresholds and operations.
        objective: the scores whose mean decides.
        trained: experiment or regressor → seed → policy, without seeds where it was not trained;
            ``<pipeline>_networks`` → see `vesselrl.evaluation.networks.networks_behind`.

    Returns:
        State of a `vesselrl.prediction.recipe.Recipe` without a calibration.

    Raises:
        VesselrlError: see `vesselrl.prediction.recipe.write_recipe`.
    """
    from vesselrl.prediction import recipe

    networks = {
        name.removesuffix(NETWORKS): kept
        for name, kept in trained.items()
        if name.endswith(NETWORKS)
    }
    stock = recipe.Stock(
        segmenter=segmenter,
        actions=actions,
        objective=objective,
        static=static_setting["index"],
        thresholds={run: point["threshold"] for run, point in operating_points.items()},
        policies={name: kept for name, kept in trained.items() if not name.endswith(NETWORKS)},
        finished_policies=finished_policies,
        trained=networks,
        reward_network=reward_network,
        rating=rating,
    )
    name = _recommended(verdict, evaluation) if method == RECOMMENDED else method
    return recipe.write_recipe(name, evaluation.methods, stock).state()


def _recommended(verdict: Mapping[str, Any], evaluation: EvaluationParameters) -> str:
    """The recommended method or, if it is of no use for new images, the best that is of use.

    What the verdict leaves out, as it is no better than chance, comes last.
    """
    from vesselrl.prediction.recipe import first_predictable

    recommended = str(verdict["recommended"])
    ranking = [verdict["best"], *(row["method"] for row in verdict["compared_with_best"])]
    ranking.sort(key=lambda method: method in verdict["below_random"])
    name = first_predictable([recommended, *ranking], evaluation.methods)
    if name != recommended:
        logger.warning(
            "The report recommends ‘%s’, which cannot be applied to new images; ‘%s’ is taken for "
            "them, the best that can. (predict.method=<name> takes another.)",
            recommended,
            name,
        )
    return name


def try_recipe(
    uncalibrated_recipe: dict[str, Any],
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    samples: Any,
    segmenter: SegmenterParameters,
) -> Any:
    """Let the method segment the validation and test images, and its masks be rated.

    Args:
        uncalibrated_recipe: see `write_recipe`.
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        candidates: sample id → loader of the stored maps.
        samples: the table of samples.
        segmenter: which was asked for these maps.

    Returns:
        A table with the columns `vesselrl.prediction.trials.TRIAL_COLUMNS`.
    """
    import pandas as pd
    from tqdm import tqdm

    from vesselrl.prediction.predictor import Predictor
    from vesselrl.prediction.recipe import Recipe
    from vesselrl.prediction.trials import TRIAL_COLUMNS, trial

    predictor = Predictor(Recipe.from_state(uncalibrated_recipe, segmenter))
    facts = samples.set_index("id")[["group", "split"]].to_dict("index")
    rows = []
    for sample in tqdm(ids_of(samples, "val", "test"), "Trying the method", unit="image"):
        levels = candidates[sample]()["levels"]
        scores = trial(predictor, images[sample](), levels, masks[sample]())
        rows.append({"image": sample, **facts[sample], **scores})
    return pd.DataFrame(rows, columns=TRIAL_COLUMNS)


def calibrate_recipe(
    uncalibrated_recipe: dict[str, Any],
    recipe_trials: Any,
    images: Partitions,
    samples: Any,
    segmenter: SegmenterParameters,
    coverage: float,
) -> dict[str, Any]:
    """Learn from validation images how good the method's masks are, and how unlike an image is.

    Args:
        uncalibrated_recipe: see `write_recipe`.
        recipe_trials: see `try_recipe`; only validation images are looked at.
        images: sample id → loader of training and validation images.
        samples: the table of samples.
        segmenter: of the recipe.
        coverage: share of images whose Dice the interval should hold.

    Returns:
        State of the calibrated `vesselrl.prediction.recipe.Recipe`.

    Raises:
        VesselrlError: there are no validation images.
    """
    import numpy as np

    from vesselrl.ahead import made_ahead
    from vesselrl.errors import VesselrlError
    from vesselrl.prediction.calibration import groups_needed
    from vesselrl.prediction.out_of_distribution import Reference
    from vesselrl.prediction.recipe import Recipe
    from vesselrl.prediction.trials import calibration_of
    from vesselrl.rl.observations import image_features

    trials = recipe_trials[recipe_trials["split"] == "val"]
    if trials.empty:
        raise VesselrlError(
            "There are no validation images to learn from how good a mask is: give "
            "split.fractions.val a share, or name such images in splits.json."
        )
    recipe = Recipe.from_state(uncalibrated_recipe, segmenter)
    looked = made_ahead(image_features, of_splits(images, samples, "train", "val"))
    features = {s: make() for s, make in with_progress(looked, "Looking at images").items()}
    training, validation = (
        np.stack([features[sample] for sample in ids_of(samples, split)])
        for split in ("train", "val")
    )
    calibration = calibration_of(trials, coverage, Reference.fit(training, validation))
    needed = groups_needed(coverage)
    if calibration.groups < needed:
        logger.warning(
            "Groups of validation images: %d. An interval that holds the Dice of %g %% of new "
            "images needs %d: until there are as many, every interval is 0 to 1.",
            calibration.groups,
            100 * coverage,
            needed,
        )
    return recipe.calibrated(calibration).state()


def check_recipe(
    recipe: dict[str, Any], recipe_trials: Any, segmenter: SegmenterParameters
) -> dict[str, Any]:
    """Whether predicted Dice and intervals are true of the test images.

    Returns:
        ``method``, and what `vesselrl.prediction.trials.check` returns.
    """
    from vesselrl.prediction.recipe import Recipe
    from vesselrl.prediction.trials import check

    of_recipe = Recipe.from_state(recipe, segmenter)
    trials = recipe_trials[recipe_trials["split"] == "test"]
    return {"method": of_recipe.name, **check(of_recipe.calibration, trials)}
