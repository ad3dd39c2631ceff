"""What is kept of one image: the segmenter's answer to every prompt."""

import logging
import time
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.segmenters.base import Segmenter
from vesselrl.segmenters.levels import to_levels

logger = logging.getLogger(__name__)


def make_candidates(
    sample: str, image: npt.NDArray[np.uint8], segmenter: Segmenter, prompts: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """Ask a segmenter all prompts about one image.

    A failure of the segmenter is logged and kept with maps of zeros, so that one image never stops
    a run.

    Args:
        sample: the id, for the log.
        image: uint8 (H, W) or (H, W, 3).
        segmenter: see `vesselrl.segmenters.base.Segmenter`.
        prompts: P names.

    Returns:
        ``levels`` uint8 (P, H, W), see `vesselrl.segmenters.levels`; ``prompts`` str (P,);
        ``seconds`` float64 (), the time for all prompts; ``error`` str (), empty if all went well.
    """
    shape = (len(prompts), *image.shape[:2])
    error = ""
    start = time.perf_counter()
    try:
        probabilities = segmenter.probabilities(image, prompts)
        if probabilities.shape != shape:
            raise ValueError(f"The maps have shape {probabilities.shape}; expected {shape}.")
        levels = to_levels(probabilities)
    except Exception as exception:
        error = traceback.format_exception_only(exception)[-1].strip()
        logger.warning("Segmenting '%s' failed, its maps are empty: %s", sample, error)
        logger.debug("Segmenting '%s' failed.", sample, exc_info=True)
        levels = np.zeros(shape, np.uint8)
    return {
        "levels": levels,
        "prompts": np.array(prompts, dtype=np.str_),
        "seconds": np.array(time.perf_counter() - start),
        "error": np.array(error, dtype=np.str_),
    }
