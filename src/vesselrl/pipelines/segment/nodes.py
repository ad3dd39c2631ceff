"""Nodes of the pipeline ``segment``: images in, maps and tables out."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from vesselrl.progress import with_progress
from vesselrl.samples import ids_of
from vesselrl.segmenters.parameters import SegmenterParameters

logger = logging.getLogger(__name__)

Partitions = dict[str, Callable[[], Any]]

OVERVIEW_ROWS = 5


def segment_images(images: Partitions, samples: Any, segmenter: SegmenterParameters) -> Partitions:
    """Ask the segmenter every prompt about every sample, one image in memory at a time.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        samples: the table of samples.
        segmenter: which segmenter, and its prompts.

    Returns:
        Sample id → maker of `vesselrl.segmenters.candidates.make_candidates`.
    """
    from vesselrl.segmenters.base import build_segmenter
    from vesselrl.segmenters.candidates import make_candidates

    model = build_segmenter(segmenter)
    prompts = list(segmenter.prompts)

    def make(sample: str) -> Any:
        return make_candidates(sample, images[sample](), model, prompts)

    makers: Partitions = {sample: partial(make, sample) for sample in ids_of(samples)}
    return with_progress(makers, "Segmenting")


def summarise_candidates(candidates: Partitions) -> tuple[Any, Any]:
    """Which images failed, and how long each took.

    Args:
        candidates: sample id → loader of the stored maps.

    Returns:
        Two DataFrames, sorted by id: failures (id, error; often no rows) and timing (id, seconds
        for all prompts together, calls: the number of prompts).
    """
    import pandas as pd

    failures, timing = [], []
    for sample in sorted(candidates):
        stored = candidates[sample]()
        if error := str(stored["error"]):
            failures.append((sample, error))
        timing.append((sample, float(stored["seconds"]), len(stored["prompts"])))
    if failures:
        logger.warning("The segmenter failed on %d of %d images.", len(failures), len(timing))
    return (
        pd.DataFrame(failures, columns=["id", "error"]),
        pd.DataFrame(timing, columns=["id", "seconds", "calls"]),
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
