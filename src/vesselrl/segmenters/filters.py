"""What segmenters without weights have in common: a filter for dark lines, and prompts.

The image is read as attenuation (its logarithm: Beer-Lambert), so that a vessel stands out equally
over bright lung and dark diaphragm. Of each prompt's scales the largest response of the filter is
compared with the prompt's operating point, and small regions are left out.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.transform import resize

from vesselrl.colour import one_channel
from vesselrl.segmenters.base import check_image, settings_of
from vesselrl.segmenters.parameters import FilterParameters, FilterPrompt

Image = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

GREY_OFFSET = 10.0
"""Grey levels added before the logarithm: noise in black is not contrast."""
DARK = 0.35
"""Below this part of the median grey level, what joins the border is outside the collimator."""
MIN_OUTSIDE = 100
"""A dark region of fewer pixels is no collimator."""
RIM = 4
"""Pixels of the collimator's edge that count as outside too."""
FAINTEST = 1e-3
"""Responses below this (log grey level) are noise, whatever share of the image a prompt expects."""
THRESHOLDS = tuple(np.float32(k / 10) for k in range(1, 10))
"""At these probabilities small regions are left out."""
STEEPNESS = 3.0
"""How fast the probability rises with the response, see `_probability`."""


class FilterSegmenter(ABC):
    """A filter at several scales; the responses are shared between prompts."""

    def __init__(self, parameters: FilterParameters) -> None:
        self._prompts = parameters.prompts
        self._max_side = parameters.max_side

    @abstractmethod
    def response(self, attenuation: Map, scale: float) -> Map:
        """How much each pixel looks like part of a dark line.

        Args:
            attenuation: float32 (H, W), the logarithm of the grey level: vessels are low.
            scale: which widths to look for, in pixels; what it measures is the filter's matter.

        Returns:
            float32 (H, W), 0 or more.
        """

    def probabilities(self, image: Image, prompts: Sequence[str]) -> Map:
        """The map of each prompt, float32 (P, H, W) in [0, 1], of uint8 (H, W) or (H, W, 3).

        Dark vessels are expected. Outside a collimator the maps are 0.
        """
        settings = settings_of(self._prompts, prompts)
        check_image(image)
        grey = one_channel(image)
        shape = grey.shape
        factor = self._max_side / max(shape)
        if factor < 1:
            small = [max(1, round(side * factor)) for side in shape]
            grey = resize(grey, small, anti_aliasing=True, preserve_range=True)
        attenuation, inside = _attenuation(grey.astype(np.float32))
        scales = sorted({scale for setting in settings for scale in setting.scales})
        responses = {scale: self.response(attenuation, scale) * inside for scale in scales}
        maps = [_probability(responses, inside, setting) for setting in settings]
        if factor < 1:
            maps = [resize(one, shape, order=1) for one in maps]
        return np.clip(np.array(maps, np.float32).reshape(len(maps), *shape), 0, 1)


def _attenuation(grey: Map) -> tuple[Map, Mask]:
    """Logarithm of the image, continued smoothly outside the collimator, and what is inside.

    Args:
        grey: float32 (H, W) in [0, 255].

    Returns:
        float32 (H, W) and bool (H, W).
    """
    dark = ndimage.gaussian_filter(grey, 1) < DARK * np.median(grey)
    regions, _ = ndimage.label(dark)
    rim = np.concatenate([regions[[0, -1]].ravel(), regions[:, [0, -1]].ravel()])
    large = np.flatnonzero(np.bincount(regions.ravel()) >= MIN_OUTSIDE)
    outside = np.isin(regions, np.setdiff1d(np.intersect1d(rim, large), [0]))
    inside = ~ndimage.binary_dilation(outside, iterations=RIM) if outside.any() else ~outside
    attenuation = np.log(grey + np.float32(GREY_OFFSET))
    if inside.any() and not inside.all():
        # The nearest pixel inside stands in, else the edge itself would be the strongest line.
        rows, columns = ndimage.distance_transform_edt(
            ~inside, return_distances=False, return_indices=True
        )
        attenuation = attenuation[rows, columns]
    return attenuation, inside


def _probability(responses: Mapping[float, Map], inside: Mask, prompt: FilterPrompt) -> Map:
    """Response to probability: ``p = r^k / (r^k + t^k)``, a logistic function of log r.

    The operating point t, where p is one half, is the response that ``prompt.fraction`` of the
    pixels inside exceed.

    Returns:
        float32 (H, W) in [0, 1].
    """
    response = np.max([responses[scale] for scale in prompt.scales], axis=0)
    if not inside.any():
        return np.zeros_like(response)
    operating_point = max(float(np.quantile(response[inside], 1 - prompt.fraction)), FAINTEST)
    odds = (response / operating_point) ** STEEPNESS
    return _without_small(odds / (1 + odds), prompt.min_size)


def _without_small(probability: Map, min_size: int) -> Map:
    """Lower small regions: above any of ``THRESHOLDS`` each region has ``min_size`` pixels or more.

    This is the grey-scale area opening (Vincent, "Grayscale area openings and closings", 1993) at a
    few thresholds, several times faster than at all of them.
    """
    opened = probability.copy()
    for threshold in THRESHOLDS:
        regions, _ = ndimage.label(probability > threshold, structure=np.ones((3, 3)))
        small = np.bincount(regions.ravel()) < min_size
        small[0] = False  # the background
        np.minimum(opened, threshold, out=opened, where=small[regions])
    return opened
