"""A segmenter without weights or derivatives: morphology with lines in all directions.

It errs in other ways than the ridge segmenter, and so can stand for one that a reward network has
never met.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.draw import line

from vesselrl.segmenters.filters import FilterSegmenter, Map

DIRECTIONS = 12
"""Every 15 degrees, as Zana and Klein."""
SMOOTHING = 1.0
"""Sigma in pixels of the smoothing that takes away noise beforehand."""


class TophatSegmenter(FilterSegmenter):
    """The black top-hat of closings by lines.

    A closing by a line fills whatever is dark and, in the line's direction, shorter than it. In
    some direction that is every vessel narrower than the line, so the largest of the closings shows
    the background alone. Along a vessel nothing is filled, so the smallest of them shows vessels
    still, but no dark spot: their difference is left of lines only (cf. Zana and Klein,
    "Segmentation of vessel-like patterns using mathematical morphology and curvature evaluation",
    IEEE Transactions on Image Processing 10, 2001, doi:10.1109/83.931095, for bright vessels).
    """

    def response(self, attenuation: Map, scale: float) -> Map:
        """The top-hat by lines that reach `scale` pixels to either side."""
        smooth = ndimage.gaussian_filter(attenuation, SMOOTHING)
        angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
        closings = [ndimage.grey_closing(smooth, footprint=_line(scale, a)) for a in angles]
        tophat: Map = np.max(closings, axis=0) - np.min(closings, axis=0)
        return tophat


def _line(reach: float, angle: float) -> npt.NDArray[np.bool_]:
    """A line of pixels through the middle of a square, bool (N, N).

    Args:
        reach: from the middle to either end, in pixels.
        angle: to the rows, in radians.
    """
    rows, columns = (round(reach * part) for part in (np.sin(angle), np.cos(angle)))
    half = max(abs(rows), abs(columns))
    footprint = np.zeros((2 * half + 1, 2 * half + 1), bool)
    footprint[line(half - rows, half - columns, half + rows, half + columns)] = True
    return footprint
