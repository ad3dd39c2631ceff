"""Reward networks and reinforcement learning for vessel segmentation with promptable models."""

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesselrl.prediction.predictor import Predictor

__version__ = "0.1.0"


def load_bundle(
    path: "str | PathLike[str]", segmenter: Mapping[str, Any] | None = None
) -> "Predictor":
    """What predicts with a bundle of ``kedro run --pipeline bundle``; Kedro is not needed.

    Args:
        path: of the folder or the zip file.
        segmenter: settings of the segmenter that change no result, as in ``conf``; a bundle of a
            Sa2VA needs ``path``, of the model's folder on this machine, and ``trust_remote_code``.

    Raises:
        VesselrlError: it is no bundle, damaged, changed, of another version, or of a segmenter
            whose weights are not those it was made with.

    Examples:
        ```python
        predictor = vesselrl.load_bundle("bundle.zip")
        prediction = predictor.predict(image)  # uint8 (H, W), or (H, W, 3) in RGB
        prediction.mask, prediction.dice  # bool (H, W), and its expected Dice
        ```
    """
    from vesselrl.bundle.loading import load  # torch is heavy

    return load(path, segmenter)
