"""A sample data set in the form that the pipeline ``ingest`` reads."""

from typing import TypedDict

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from vesselrl.annotations.polygons import polygonise
from vesselrl.synthetic.angiogram import draw_patient
from vesselrl.synthetic.parameters import SampleParameters


class Annotation(TypedDict):
    """The vessels of one image: ``mask`` holds flat polygons, ``[x1, y1, x2, y2, …]`` in pixels."""

    image: str
    mask: list[list[int]]


def draw_sample(
    sample: SampleParameters,
) -> tuple[dict[str, npt.NDArray[np.uint8]], list[Annotation]]:
    """Draw patients and write down their vessels.

    Args:
        sample: how many, how large, from which seed.

    Returns:
        Images by name without ending, ``p01_f1`` being the first frame of the first patient, each
        uint8 (size, size); and one annotation for each.
    """
    images: dict[str, npt.NDArray[np.uint8]] = {}
    annotations: list[Annotation] = []
    for patient in tqdm(range(sample.patients), desc="drawing patients"):
        angiograms = draw_patient(sample.seed + patient, sample.frames, sample.size)
        for frame, angiogram in enumerate(angiograms, start=1):
            name = f"p{patient + 1:02}_f{frame}"
            images[name] = angiogram.image
            annotations.append({"image": f"{name}.png", "mask": polygonise(angiogram.mask)})
    return images, annotations
