"""The node of the pipeline ``sa2va_data``."""

import logging
from typing import Any

from vesselrl.annotations.parameters import Sa2vaDataParameters
from vesselrl.pipelines import Partitions
from vesselrl.samples import ids_of

logger = logging.getLogger(__name__)


def write_training_data(
    images: Partitions, masks: Partitions, samples: Any, sa2va_data: Sa2vaDataParameters
) -> tuple[Partitions, list[dict[str, Any]]]:
    """Images and annotations of the training split; those without vessels are left out.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        samples: the table of samples.
        sa2va_data: the phrase.

    Returns:
        Sample id → loader of its image, and the entries of ``annotations.json``, see
        `vesselrl.annotations.sa2va`.
    """
    from vesselrl.annotations.sa2va import training_entry

    chosen: Partitions = {}
    entries = []
    ids = ids_of(samples, "train")
    for sample in ids:
        mask = masks[sample]()
        if mask.any():
            chosen[sample] = images[sample]
            entries.append(training_entry(f"{sample}.png", mask, sa2va_data.phrase))
    if len(entries) < len(ids):
        logger.info("%d images show no vessel and are left out.", len(ids) - len(entries))
    return chosen, entries
