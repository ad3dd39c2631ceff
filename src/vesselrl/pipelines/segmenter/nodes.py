"""Nodes of the pipeline ``segmenter``: arrays and tables in, arrays and tables out."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from vesselrl.checkpoints import Checkpoints, training_fingerprint, weight_sums
from vesselrl.pipelines import Partitions, part
from vesselrl.progress import with_progress
from vesselrl.samples import group_hashes, ids_of, learning_pool, of_splits, unlabelled_pool
from vesselrl.segmenters.unet.parameters import RIVALS, SupervisedParameters

if TYPE_CHECKING:
    from vesselrl.segmenters.unet.network import SegmentationNetwork

logger = logging.getLogger(__name__)

HISTORY_COLUMNS = ["network", "iteration", "loss", "val_dice", "seconds"]


def make_segmenter_examples(
    images: Partitions, masks: Partitions, samples: Any, supervised: SupervisedParameters
) -> Partitions:
    """Training and validation images with their truth, and those without label, at working size.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        samples: the table of samples.
        supervised: of which the working size is read.

    Returns:
        Sample id → maker of `vesselrl.segmenters.unet.examples.segmenter_example`.
    """
    from vesselrl.segmenters.unet.examples import segmenter_example

    def make(sample: str, labelled: bool) -> dict[str, Any]:
        truth = masks[sample]() if labelled else None
        return segmenter_example(images[sample](), truth, supervised.max_side)

    labelled = ids_of(samples, "train", "val")
    makers: Partitions = {sample: partial(make, sample, True) for sample in labelled}
    makers |= {sample: partial(make, sample, False) for sample in unlabelled_pool(samples)}
    return with_progress(makers, "Making the segmenter's examples")


def train_teachers(
    segmenter_examples: Partitions,
    samples: Any,
    starting_weights: Mapping[str, Any] | None,
    segmenter_checkpoints: Checkpoints,
    supervised: SupervisedParameters,
    seed: int,
) -> tuple[dict[str, Any], Any]:
    """Train one network on all training images, and one for each fold without its images.

    Args:
        segmenter_examples: sample id → loader of its example.
        samples: the table of samples.
        starting_weights: state of the network to start from, None for drawn weights.
        segmenter_checkpoints: where an interrupted training goes on from.
        supervised: sizes and lengths.
        seed: of folds and of the first network; the others count on from it.

    Returns:
        ``networks``: ``supervised``, ``fold_0``, … each the state of a `SegmentationNetwork`;
        ``stages``: fold → iteration → state, at each check; ``folds``: sample id → fold. And the
        history of their training, a table with the columns `HISTORY_COLUMNS`.

    Raises:
        VesselrlError: there are no training or no validation images, or the weights to start from
            are of a network of another size, or learned from patients in validation or test.
    """
    import pandas as pd

    from vesselrl.networks.residents import Part
    from vesselrl.segmenters.unet.cross_fitting import deal_folds
    from vesselrl.segmenters.unet.examples import pairs
    from vesselrl.segmenters.unet.rivals import FOLD
    from vesselrl.segmenters.unet.start import check_groups, weights_to_start_from
    from vesselrl.segmenters.unet.training import Task, train_networks

    start = weights_to_start_from(starting_weights, supervised)
    known = list((starting_weights or {}).get("groups", ()))
    check_groups(known, samples, supervised)
    splits = {split: of_splits(segmenter_examples, samples, split) for split in ("train", "val")}
    training = splits["train"]
    of_training = samples[samples["split"] == "train"]
    groups = dict(zip(of_training["id"].astype(str), of_training["group"].astype(str), strict=True))
    folds = deal_folds(groups, supervised.folds, seed)
    labelled, validation = (pairs(splits[split]) for split in ("train", "val"))
    tasks = {"supervised": Task([labelled], seed, start)}
    for fold in range(max(folds.values()) + 1):
        others = [n for n, sample in enumerate(training) if folds[sample] != fold]
        tasks[f"{FOLD}{fold}"] = Task([Part(labelled, others)], seed + 1 + fold, start)
    made_by = [supervised, groups, seed, weight_sums(start or {})]
    trained, history = train_networks(
        tasks,
        validation,
        supervised.training,
        supervised.augmentation.strength,
        segmenter_checkpoints,
        training_fingerprint(splits, made_by),
        supervised.devices,
    )
    # The checkpoints stay until the students have learned too: a run that is killed in between
    # would else train the teachers again.
    size = supervised.max_side
    learned = sorted({*known, *group_hashes(samples, training)})
    teachers = {
        "networks": {
            name: {**one.network(size), "groups": learned} for name, one in trained.items()
        },
        "stages": {
            name: {stage: one.network(size, stage) for stage in one.stages}
            for name, one in trained.items()
            if name.startswith(FOLD)
        },
        "folds": folds,
    }
    return teachers, pd.DataFrame(history, columns=HISTORY_COLUMNS)


def cross_fit(segmenter_examples: Partitions, teachers: dict[str, Any], samples: Any) -> Partitions:
    """What networks show of labelled images that they never saw.

    A training image is shown by the network of its own fold, a validation image by that of one fold
    (each in turn), so that both have maps of one kind.

    Returns:
        Sample id → maker of `vesselrl.segmenters.unet.cross_fitting.honest_maps`.
    """
    from vesselrl.segmenters.unet.cross_fitting import folds_for_the_unseen, honest_maps
    from vesselrl.segmenters.unet.network import SegmentationNetwork
    from vesselrl.segmenters.unet.rivals import FOLD

    stages = {
        name: {int(stage): SegmentationNetwork.from_state(s) for stage, s in of_fold.items()}
        for name, of_fold in teachers["stages"].items()
    }
    folds = teachers["folds"] | folds_for_the_unseen(ids_of(samples, "val"), len(stages))

    def make(sample: str) -> dict[str, Any]:
        fold = folds[sample]
        return honest_maps(segmenter_examples[sample]()["image"], fold, stages[f"{FOLD}{fold}"])

    makers: Partitions = {sample: partial(make, sample) for sample in folds}
    return with_progress(makers, "Cross-fitting")


def make_soft_targets(
    segmenter_examples: Partitions, teachers: dict[str, Any], samples: Any
) -> Partitions:
    """What the teachers believe of the images without label, for the students to learn.

    Where there are none, of the training images: the students then learn how sure their teachers
    are, which the truth does not tell.

    Returns:
        Sample id → maker of ``fold_ensemble_tta`` and ``supervised``, each uint8 (h, w), 255 for
        certain vessel.
    """
    import numpy as np

    from vesselrl.segmenters.unet.network import ensemble
    from vesselrl.segmenters.unet.rivals import networks_of

    networks = _networks(teachers["networks"])
    folds = [networks[name] for name in networks_of("fold_ensemble", list(networks))]
    if not unlabelled_pool(samples):
        logger.info(
            "No images without labels: distilled and pseudo-labelled networks learn from the "
            "training images."
        )

    def make(sample: str) -> dict[str, Any]:
        image = segmenter_examples[sample]()["image"]
        beliefs = {
            "fold_ensemble_tta": ensemble(folds, image, flips=True),
            "supervised": networks["supervised"].probability(image),
        }
        return {name: np.round(255 * map_).astype(np.uint8) for name, map_ in beliefs.items()}

    makers: Partitions = {sample: partial(make, sample) for sample in learning_pool(samples)}
    return with_progress(makers, "Asking the teachers")


def train_students(
    segmenter_examples: Partitions,
    soft_targets: Partitions,
    teachers: dict[str, Any],
    teacher_history: Any,
    samples: Any,
    segmenter_checkpoints: Checkpoints,
    supervised: SupervisedParameters,
    seed: int,
) -> tuple[dict[str, Any], Any]:
    """Let the supervised network learn on, half of each batch from teachers, half from the truth.

    ``distilled`` learns the fold ensemble's maps, ``pseudo_labelled`` the supervised network's own.

    Args:
        segmenter_examples: sample id → loader of its example.
        soft_targets: sample id → loader of what the teachers believe.
        teachers: see `train_teachers`.
        teacher_history: see there.
        samples: the table of samples.
        segmenter_checkpoints: where an interrupted training goes on from; cleared at the end.
        supervised: sizes and lengths.
        seed: both students' seeds count on from the teachers'.

    Returns:
        All networks, name → state of a `SegmentationNetwork`: ``supervised``, ``fold_0``, …,
        ``distilled``, ``pseudo_labelled``; and the history of their training.
    """
    import pandas as pd

    from vesselrl.segmenters.unet.examples import pairs
    from vesselrl.segmenters.unet.training import Task, train_networks

    networks = teachers["networks"]
    start = networks["supervised"]["weights"]
    splits = {split: of_splits(segmenter_examples, samples, split) for split in ("train", "val")}
    labelled, validation = (pairs(splits[split]) for split in ("train", "val"))
    shown = {sample: segmenter_examples[sample] for sample in soft_targets}

    def believed(teacher: str) -> Any:
        targets = {s: partial(part, load, teacher) for s, load in soft_targets.items()}
        return pairs(shown, targets=targets)

    lessons = {"distilled": "fold_ensemble_tta", "pseudo_labelled": "supervised"}
    tasks = {
        student: Task([labelled, believed(teacher)], seed + len(networks) + number, start)
        for number, (student, teacher) in enumerate(lessons.items())
    }
    made_by = [supervised, seed, weight_sums(start)]
    trained, history = train_networks(
        tasks,
        validation,
        supervised.training.model_copy(update=supervised.students.model_dump()),
        supervised.augmentation.strength,
        segmenter_checkpoints,
        training_fingerprint(splits | {"targets": soft_targets}, made_by),
        supervised.devices,
    )
    segmenter_checkpoints.clear()
    learned = {
        *networks["supervised"].get("groups", ()),
        *group_hashes(samples, list(soft_targets)),
    }
    students = {
        name: {**one.network(supervised.max_side), "groups": sorted(learned)}
        for name, one in trained.items()
    }
    table = pd.concat([teacher_history, pd.DataFrame(history)], ignore_index=True)
    return networks | students, table


def export_weights(segmenter_networks: dict[str, Any]) -> Partitions:
    """Each network for deployment, or to start another training from.

    Returns:
        Name → maker of the `SegmentationNetwork`.
    """
    from vesselrl.segmenters.unet.network import SegmentationNetwork

    return {
        name: partial(SegmentationNetwork.from_state, state)
        for name, state in segmenter_networks.items()
    }


def keep_networks(segmenter_networks: dict[str, Any]) -> dict[str, Any]:
    """What new images need of the networks.

    Returns:
        ``networks``, all of them, and ``refiner``, none; see
        `vesselrl.evaluation.networks.networks_behind`.
    """
    return {"networks": segmenter_networks, "refiner": None}


def map_rivals(images: Partitions, segmenter_networks: dict[str, Any], samples: Any) -> Partitions:
    """The map of every rival of validation and test images.

    Returns:
        ``<rival>/<id>`` → maker of `vesselrl.segmenters.unet.rivals.rival_map`.
    """
    from vesselrl.segmenters.unet.rivals import rival_map

    networks = _networks(segmenter_networks)

    def make(rival: str, sample: str) -> dict[str, Any]:
        return rival_map(rival, networks, images[sample]())

    makers: Partitions = {
        f"{rival}/{sample}": partial(make, rival, sample)
        for sample in ids_of(samples, "val", "test")
        for rival in RIVALS
    }
    return with_progress(makers, "Mapping with the trained networks", unit="map")


def describe_rivals(segmenter_networks: dict[str, Any], segmenter_history: Any) -> dict[str, Any]:
    """Rival → what it takes to have it, see `vesselrl.segmenters.unet.rivals.rival_facts`."""
    from vesselrl.segmenters.unet.rivals import rival_facts

    networks = _networks(segmenter_networks)
    seconds = segmenter_history.groupby("network")["seconds"].max().to_dict()
    return {rival: rival_facts(rival, networks, seconds) for rival in RIVALS}


def _networks(states: Mapping[str, Any]) -> "dict[str, SegmentationNetwork]":
    from vesselrl.segmenters.unet.network import SegmentationNetwork

    return {name: SegmentationNetwork.from_state(state) for name, state in states.items()}


def draw_training(segmenter_history: Any) -> Any:
    """Loss and validation Dice of every network, a Figure."""
    from vesselrl.segmenters.unet.figure import draw_training as draw

    return draw(segmenter_history)
