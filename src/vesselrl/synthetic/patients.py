"""Many patients, for a network to learn from."""

from functools import partial

import numpy as np
import numpy.typing as npt

from vesselrl.parallel import ordered_map
from vesselrl.synthetic.angiogram import draw_patient
from vesselrl.synthetic.variation import WIDE

AT_ONCE = 500
"""Patients in one file."""


def draw_patients(first: int, count: int, size: int) -> dict[str, npt.NDArray[np.uint8]]:
    """One angiogram of each of many patients, who differ as `WIDE` says; over all cores.

    Args:
        first: seed of the first patient; the others count on from it.
        count: how many, N.
        size: side of the images in pixels.

    Returns:
        ``images`` and ``masks``, each uint8 (N, size, size); a mask is 255 in labelled vessels.
    """
    drawn = list(ordered_map(partial(_draw, size=size), range(first, first + count)))
    return {"images": np.stack([d[0] for d in drawn]), "masks": np.stack([d[1] for d in drawn])}


def _draw(seed: int, size: int) -> npt.NDArray[np.uint8]:
    (angiogram,) = draw_patient(seed, 1, size, WIDE)
    return np.stack([angiogram.image, angiogram.mask * np.uint8(255)])
