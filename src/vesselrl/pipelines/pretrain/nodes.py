"""Nodes of the pipeline ``pretrain``: numbers in, drawings and weights out."""

from functools import partial
from typing import Any

from vesselrl.checkpoints import Checkpoints
from vesselrl.pipelines import Partitions
from vesselrl.progress import with_progress
from vesselrl.segmenters.unet.parameters import PretrainingParameters

SHOWN = 12
"""Drawings in the overview."""


def draw_patients(pretraining: PretrainingParameters) -> Partitions:
    """Draw synthetic patients, one angiogram each, as different as they can be.

    Args:
        pretraining: how many, how large.

    Returns:
        Name → maker of ``images`` and ``masks``, each uint8 (N, size, size); a mask is 255 in
        labelled vessels. Files hold `vesselrl.synthetic.patients.AT_ONCE` patients, the last fewer.
    """
    from vesselrl.synthetic.patients import AT_ONCE, draw_patients

    ends = range(0, pretraining.patients, AT_ONCE)
    makers: Partitions = {
        f"{first:06}": partial(
            draw_patients,
            pretraining.seed + first,
            min(AT_ONCE, pretraining.patients - first),
            pretraining.size,
        )
        for first in ends
    }
    return with_progress(makers, "Drawing patients", unit="file")


def draw_overview(drawn_patients: Partitions) -> Any:
    """A figure of a few drawings with their masks."""
    from vesselrl.synthetic.figure import draw_drawings

    drawn = drawn_patients[min(drawn_patients)]()
    return draw_drawings(drawn["images"][:SHOWN], drawn["masks"][:SHOWN])


def pretrain(
    drawn_patients: Partitions,
    pretraining_checkpoints: Checkpoints,
    pretraining: PretrainingParameters,
) -> tuple[Any, Any]:
    """Train the segmenter's network on drawings alone.

    Args:
        drawn_patients: see `draw_patients`.
        pretraining_checkpoints: where an interrupted training goes on from.
        pretraining: size and length.

    Returns:
        The `SegmentationNetwork`, and its history, a table with the columns iteration and loss.
    """
    import pandas as pd

    from vesselrl.segmenters.unet.pretraining import pretrain

    network, history = pretrain(
        [drawn_patients[name] for name in sorted(drawn_patients)],
        pretraining,
        pretraining_checkpoints,
    )
    return network, pd.DataFrame(history)
