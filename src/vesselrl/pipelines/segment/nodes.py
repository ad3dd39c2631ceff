"""Nodes of the pipeline ``segment``: images in, maps and tables out."""

import logging
from typing import Any

from vesselrl.distributed.parameters import RayParameters
from vesselrl.errors import VesselrlError
from vesselrl.pipelines import Partitions
from vesselrl.samples import HELD_OUT, ids_of, known_groups, of_splits
from vesselrl.segmenters.parameters import SegmenterParameters

logger = logging.getLogger(__name__)

OVERVIEW_ROWS = 5
TIMING_COLUMNS = ["id", "seconds", "calls", "encoder_passes", "gpu_mb"]


def segment_images(
    images: Partitions, samples: Any, segmenter: SegmenterParameters, ray: RayParameters
) -> Any:
    """Ask the segmenter every prompt about every sample, one image in memory at a time.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        samples: the table of samples.
        segmenter: which segmenter, its prompts, and on which devices.
        ray: the workers on Ray, if there are any, on which it runs instead.

    Returns:
        `vesselrl.segmenters.candidate_folder.PendingCandidates`, made where they are saved.
    """
    from vesselrl.segmenters.candidate_folder import PendingCandidates

    learned = segmenter.learned_from()
    if leaking := known_groups(samples, learned, *HELD_OUT):
        logger.warning(
            "The segmenter learned from %d of the groups that are in validation or test here: "
            "scores on them flatter every method that uses the segmenter.",
            leaking,
        )
    if known := known_groups(samples, learned, "train"):
        logger.warning(
            "The segmenter learned from %d of the training groups: its maps of these are not "
            "honest, and a reward network that learns from them believes masks to be better than "
            "they are.",
            known,
        )
    return PendingCandidates(of_splits(images, samples), segmenter, ray)


def summarise_candidates(candidates: Partitions) -> tuple[Any, Any]:
    """Which images failed, and how long each took.

    Args:
        candidates: sample id → loader of the stored maps.

    Returns:
        Two DataFrames, sorted by id: failures (id, error; often no rows) and timing (id, seconds
        for all prompts together, calls: the number of prompts; encoder_passes: how often the
        segmenter's encoder ran for them, empty if it does not tell; gpu_mb: the most memory in use
        on one GPU meanwhile, in MB, empty without a GPU).

    Raises:
        VesselrlError: no prompt was answered for any image.
    """
    import pandas as pd

    failures, timing = [], []
    answered = not candidates
    for sample in sorted(candidates):
        stored = candidates[sample]()
        if error := str(stored["error"]):
            failures.append((sample, error))
        answered = answered or any(stored["keys"].tolist())
        numbers = [float(stored[name]) for name in TIMING_COLUMNS[3:]]
        timing.append((sample, float(stored["seconds"]), len(stored["prompts"]), *numbers))
    if not answered:
        first, error = failures[0]
        raise VesselrlError(
            f"The segmenter failed on all {len(timing)} images, so nothing can be learned from its "
            f"maps. {first}: {error.rstrip('.')}. The traceback is in the log file."
        )
    if failures:
        logger.warning(
            "The segmenter failed on %d of %d images; they are tried again when the stage runs "
            "again: kedro run --pipeline segment",
            len(failures),
            len(timing),
        )
    return (
        pd.DataFrame(failures, columns=["id", "error"]),
        pd.DataFrame(timing, columns=TIMING_COLUMNS),
    )


def draw_segment_overview(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    samples: Any,
    segmenter: SegmenterParameters,
) -> Any:
    """A figure of a few training and validation images with every prompt's map.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        candidates: sample id → loader of the stored maps.
        samples: the table of samples; the images shown are spread evenly over it.
        segmenter: the prompts.
    """
    from vesselrl.segmenters.overview import draw_overview

    ids = ids_of(samples, "train", "val")
    count = min(OVERVIEW_ROWS, len(ids))
    shown = [ids[i * len(ids) // count] for i in range(count)]
    return draw_overview(
        {sample: images[sample]() for sample in shown},
        {sample: masks[sample]() for sample in shown},
        {sample: candidates[sample]()["levels"] for sample in shown},
        list(segmenter.prompts),
    )
