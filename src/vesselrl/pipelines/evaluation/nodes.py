"""Nodes of the pipeline ``evaluation``: candidates and policies in, masks and scores out."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vesselrl.errors import first_few
from vesselrl.evaluation.parameters import METRIC_COLUMNS, NETWORK_SECONDS, EvaluationParameters
from vesselrl.pipelines import Partitions
from vesselrl.progress import with_progress
from vesselrl.rl.parameters import ActionParameters
from vesselrl.samples import ids_of
from vesselrl.seeds import place_of_seed
from vesselrl.segmenters.parameters import SegmenterParameters

logger = logging.getLogger(__name__)

MAPS = "_maps"
"""Ends the names of the arguments that are maps of a pipeline's networks."""


def choose_static_setting(
    action_scores: Partitions,
    samples: Any,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    objective: list[str],
) -> dict[str, Any]:
    """Find the one setting for all images that is best on the validation images.

    Args:
        action_scores: sample id → loader of the true scores of every setting.
        samples: the table of samples.
        segmenter: the prompts.
        actions: thresholds and operations.
        objective: the scores whose mean decides.

    Returns:
        ``index`` in `ActionSet.settings`, ``prompt``, ``threshold``, ``operations`` and
        ``objective`` (its mean there).
    """
    import numpy as np

    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.setting_scores import objective_by

    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    scores = np.mean(
        [
            objective_by("ground_truth", action_scores[sample](), objective)
            for sample in ids_of(samples, "val")
        ],
        axis=0,
    )
    best = int(scores.argmax())
    return {
        "index": best,
        **action_set.describe(action_set.settings[best]),
        "objective": round(float(scores[best]), 6),
    }


def choose_operating_points(
    masks: Partitions, samples: Any, objective: list[str], **network_maps: Partitions
) -> dict[str, Any]:
    """Find where each trained network's maps are best cut, on the validation images.

    Args:
        masks: sample id → loader of the truth.
        samples: the table of samples.
        objective: the scores whose mean decides.
        network_maps: pipeline → maps of its networks, see `vesselrl.evaluation.networks.Maps`.

    Returns:
        See `vesselrl.evaluation.networks.operating_points`.
    """
    from vesselrl.evaluation.networks import operating_points

    return operating_points(_merged(network_maps), masks, ids_of(samples, "val"), objective)


def _merged(network_maps: Mapping[str, Partitions]) -> Partitions:
    return {name: load for maps in network_maps.values() for name, load in maps.items()}


def import_masks(
    imported_results: Mapping[str, Callable[[], Any]],
    file_names: dict[str, Any],
    samples: Any,
    max_pixels: int,
) -> Partitions:
    """Bring the finished masks of imported methods to the ids of the test images.

    It alone sees the names under which their makers know the images.

    Args:
        imported_results: method → opener of its masks.
        file_names: what the pseudonyms of files stand for.
        samples: the table of samples.
        max_pixels: larger mask files are refused.

    Returns:
        ``<method>/<id>`` → maker of a mask, bool (H, W); images that a method has no mask of are
        left out.

    Raises:
        VesselrlError: two masks are of the same image; a maker raises it for a mask that is
            damaged, no mask or of another size than its image.
    """
    from vesselrl.evaluation.imports import match_results

    original = file_names.get("files", {})
    makers: Partitions = {
        f"{method}/{sample}": make
        for method, open_results in imported_results.items()
        for sample, make in match_results(
            method, open_results(), samples, original, max_pixels
        ).items()
    }
    return with_progress(makers, "Importing masks", unit="mask")


def decide(
    images: Partitions,
    candidates: Partitions,
    action_scores: Partitions,
    static_setting: dict[str, Any],
    reward_network: dict[str, Any],
    finished_policies: Mapping[str, Any],
    imported_masks: Partitions,
    operating_points: dict[str, Any],
    samples: Any,
    evaluation: EvaluationParameters,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    objective: list[str],
    seed: int,
    **trained: Mapping[Any, Any],
) -> tuple[Any, list[dict[str, str]]]:
    """Let every method decide about every test image.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        candidates: sample id → loader of the stored maps.
        action_scores: sample id → loader of the scores of every setting.
        static_setting: see `choose_static_setting`.
        reward_network: state of the `RewardNetwork`.
        finished_policies: method → the policy its path leads to.
        imported_masks: see `import_masks`.
        operating_points: see `choose_operating_points`.
        samples: the table of samples.
        evaluation: the methods.
        segmenter: the prompts.
        actions: thresholds and operations.
        objective: the scores whose mean decides.
        seed: of the random choices.
        trained: experiment or regressor → seed → policy, without seeds where it was not trained;
            ``<pipeline>_maps`` → maps of its networks, none where it was not run.

    Returns:
        The choices, a table with the columns
        `vesselrl.evaluation.choices.CHOICE_COLUMNS` (``prediction`` is the mask's name
        among the predictions, ``state`` JSON, ``seconds`` from image to mask, the segmenter's time
        for all prompts being shared equally among them, and what a policy needs to see the image
        included); and the methods that could not run, rows ``method``, ``command`` (what to do).

    Raises:
        VesselrlError: there are no test images, one of a test image's group is in another split,
            or a finished policy chooses among other options than this run has.
    """
    import pandas as pd
    from tqdm import tqdm

    from vesselrl.evaluation.choices import CHOICE_COLUMNS, choice
    from vesselrl.evaluation.held_out import held_out
    from vesselrl.evaluation.methods import Case, check_choices, deciders, made_by
    from vesselrl.evaluation.networks import network_deciders
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.observations import image_features
    from vesselrl.rl.setting_scores import objective_by
    from vesselrl.segmenters.levels import from_levels

    test = held_out(samples)
    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    judge = RewardNetwork.from_state(reward_network)
    for name, policy in finished_policies.items():
        check_choices(name, policy, action_set)
    maps = _merged({name: dict(given) for name, given in trained.items() if name.endswith(MAPS)})
    methods: dict[str, Any] = {}
    not_run: list[dict[str, str]] = []
    for name, method in evaluation.methods.items():
        own = trained.get(method.experiment or "", {})
        own = {seed: finished_policies[name]} if name in finished_policies else own
        missing = [sample for sample in test if f"{name}/{sample}" not in imported_masks]
        if method.kind == "imported" and missing:
            not_run.append({"method": name, "command": _complete(name, missing, len(test))})
            logger.warning("Method ‘%s’ is left out: %s", name, not_run[-1]["command"])
            continue
        methods[name] = (
            network_deciders(method, maps, operating_points, test, seed)
            if method.kind == "network"
            else deciders(method, action_set, static_setting["index"], own, objective, seed)
        )
        if not methods[name]:
            not_run.append({"method": name, "command": made_by(method)})
    rows = []
    for sample in tqdm(test, "Deciding", unit="image"):
        stored, scores = candidates[sample](), action_scores[sample]()
        image = images[sample]()
        case = Case(
            sample,
            image,
            partial(image_features, image),  # anew for each method, whose seconds are measured
            from_levels(stored["levels"]),
            judge,
            predicted=partial(objective_by, "reward_network", scores, objective),
            true=partial(objective_by, "ground_truth", scores, objective),
        )
        a_call = float(stored["seconds"]) / len(stored["prompts"])
        for name, by_seed in methods.items():
            parts = NETWORK_SECONDS.get(evaluation.methods[name].kind, ())
            needs = sum(float(scores[part]) for part in parts)
            for number, choose in by_seed.items():
                prefix = place_of_seed(name, number, next(iter(by_seed)))
                row = choice(case, choose, action_set, a_call, needs)
                rows.append([name, number, sample, f"{prefix}/masks/{sample}", *row])
    return pd.DataFrame(rows, columns=CHOICE_COLUMNS), not_run


def _complete(name: str, missing: list[str], images: int) -> str:
    """What to do about missing masks: methods are compared on the same images only."""
    return (
        f"add the masks of {len(missing)} of {images} test images "
        f"({first_few(missing)}) where evaluation.methods.{name}.path says"
    )


def draw_predictions(
    choices: Any,
    images: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    imported_masks: Partitions,
    evaluation: EvaluationParameters,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
    **network_maps: Partitions,
) -> Partitions:
    """Draw the mask of every choice; imported masks are taken as they are.

    Returns:
        ``<method>/masks/<id>`` → maker of a mask, bool (H, W); those of a method's further seeds
        are ``<method>/seeds/<n>/masks/<id>``.
    """
    from vesselrl.evaluation.methods import IMPORTED, NETWORK, decode_state, draw
    from vesselrl.evaluation.networks import run_of
    from vesselrl.reward.network import RewardNetwork, mean_candidate
    from vesselrl.rl.actions import ActionSet
    from vesselrl.segmenters.levels import from_levels

    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    network = RewardNetwork.from_state(reward_network)
    maps = _merged(network_maps)

    def make(row: Any) -> Any:
        if row.chooses == IMPORTED:
            return imported_masks[f"{row.method}/{row.image}"]()
        if row.chooses == NETWORK:
            method = evaluation.methods[row.method]
            run = run_of(method, row.method, row.prediction, row.image)
            return from_levels(maps[f"{run}/{row.image}"]()["levels"]) > row.threshold
        sample = row.image
        probabilities = from_levels(candidates[sample]()["levels"])

        def posterior() -> Any:
            return network.own_map(images[sample](), mean_candidate(probabilities))

        mask, _ = draw(row.chooses, decode_state(row.state), probabilities, action_set, posterior)
        return mask

    makers: Partitions = {row.prediction: partial(make, row) for row in choices.itertuples()}
    return with_progress(makers, "Drawing masks", unit="mask")


def score_predictions(
    choices: Any, predictions: Partitions, masks: Partitions, samples: Any, metrics: list[str]
) -> Any:
    """Measure every mask against the truth.

    Returns:
        A table, one row a method, seed and image, with the columns `METRIC_COLUMNS` and one for
        each of the further ``metrics``.
    """
    import pandas as pd

    from vesselrl.ahead import made_ahead
    from vesselrl.evaluation.mask_scores import MaskScores

    of_image = choices.groupby("image")["prediction"].agg(list)

    def load(image: str) -> Any:
        return masks[image](), [predictions[name]() for name in of_image[image]]

    loaders = {image: partial(load, image) for image in of_image.index}
    scores: dict[str, dict[str, float]] = {}
    makers = with_progress(made_ahead(MaskScores(metrics), loaders), "Scoring masks")
    for image, make in makers.items():
        scores |= zip(of_image[image], make(), strict=True)
    facts = samples.set_index("id")[["group", "split"]].to_dict("index")
    rows = [
        {
            "method": row.method,
            "seed": row.seed,
            "image": row.image,
            **facts[row.image],
            **scores[row.prediction],
            "segmenter_calls": row.segmenter_calls,
            "seconds": row.seconds,
        }
        for row in choices.itertuples()
    ]
    return pd.DataFrame(rows, columns=[*METRIC_COLUMNS, *metrics])
