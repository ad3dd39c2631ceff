"""A segmenter without weights: dark ridges at the widths that a prompt names."""

from skimage.filters import sato

from vesselrl.segmenters.filters import FilterSegmenter, Map


class RidgeSegmenter(FilterSegmenter):
    """Sato's multi-scale ridge filter, from the second derivatives of the image.

    Sato et al., "Three-dimensional multi-scale line filter for segmentation and visualization of
    curvilinear structures in medical images", Medical Image Analysis 2, 1998,
    doi:10.1016/S1361-8415(98)80009-1.
    """

    def response(self, attenuation: Map, scale: float) -> Map:
        """The second derivative across a ridge, at a sigma of `scale`."""
        ridges: Map = sato(attenuation, [scale], black_ridges=True, mode="reflect")
        return ridges
