"""The geometry of a mask: centrelines, outline, regions and the local width of its vessels."""

from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.morphology import skeletonize

Mask = npt.NDArray[np.bool_]


class Geometry:
    """What scores need of a mask beside its pixels, each worked out once, when first asked for.

    Distances are looked up in k-d trees of the few pixels that matter: exact, and cheaper than
    distance transforms of whole images.

    Attributes:
        mask: bool (H, W).
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = np.asarray(mask, bool)

    @cached_property
    def empty(self) -> bool:
        """Whether no pixel belongs to the mask."""
        return not self.mask.any()

    @cached_property
    def skeleton(self) -> Mask:
        """The centrelines, bool (H, W); only an empty mask has none."""
        return np.asarray(skeletonize(self.mask), bool)

    @cached_property
    def outline(self) -> KDTree:
        """The mask's pixels with one of their four neighbours outside the mask or the image."""
        return KDTree(_places(self.mask & ~_inner(self.mask, beyond=False)))

    @cached_property
    def regions(self) -> int:
        """The number of 8-connected regions (Betti number 0)."""
        return int(ndimage.label(self.mask, np.ones((3, 3)))[1])

    @cached_property
    def local_radius(self) -> npt.NDArray[np.float64]:
        """The radius in pixels of the vessel that each of the mask's pixels belongs to.

        It is the distance from the nearest centreline pixel to the nearest pixel outside the mask:
        1 in a line one pixel wide, 2 where a vessel is three or four pixels wide, infinite in a
        mask that fills the image.

        Returns:
            float64 (N,), N the mask's pixels in the order of ``mask.nonzero()``.
        """
        # The nearest pixel outside always touches the mask: one step nearer lies within it.
        around = _places(~self.mask & ~_inner(~self.mask, beyond=True))
        vessel, centreline = _places(self.mask), _places(self.skeleton)
        if not len(around):
            return np.full(len(vessel), np.inf)
        radius, _ = KDTree(around).query(centreline)
        _, nearest = KDTree(centreline).query(vessel)
        return np.asarray(radius[nearest], np.float64)


def _inner(mask: Mask, beyond: bool) -> Mask:
    """The mask's pixels whose four neighbours are in it; beyond the image all are or none.

    As ``scipy.ndimage.binary_erosion``, which is many times slower.
    """
    m = np.pad(mask, 1, constant_values=beyond)
    return mask & m[:-2, 1:-1] & m[2:, 1:-1] & m[1:-1, :-2] & m[1:-1, 2:]


def _places(mask: Mask) -> npt.NDArray[np.intp]:
    """Row and column of each pixel of a mask, (N, 2): a faster ``numpy.argwhere``."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), axis=1)
