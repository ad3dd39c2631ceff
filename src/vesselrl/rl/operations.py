"""Post-processing operations on a vessel mask, built on scipy.ndimage and scikit-image."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import disk, remove_small_holes, remove_small_objects

from vesselrl.errors import VesselrlError
from vesselrl.extensions import extension
from vesselrl.rl.parameters import Operation

Mask = npt.NDArray[np.bool_]
Probability = npt.NDArray[np.float32]


def apply_operation(operation: Operation, mask: Mask, probability: Probability) -> Mask:
    """Apply one operation.

    Args:
        operation: which one, with its settings.
        mask: bool (H, W), the mask so far.
        probability: float32 (H, W) in [0, 1], the map the mask came from; hysteresis alone uses it.

    Returns:
        The new mask, bool (H, W).

    Raises:
        VesselrlError: an operation of the user's gives anything else.

    Examples:
        >>> mask = np.array([[1, 1, 1, 0, 1, 0]], bool)
        >>> kept = apply_operation(Operation(kind="remove_small", size=2), mask, mask.astype("f4"))
        >>> kept.astype(int)
        array([[1, 1, 1, 0, 0, 0]])
    """
    if apply := _OPERATIONS.get(operation.kind):
        return apply(operation, mask, probability)
    changed = extension(operation.kind, "operation")(operation, mask.copy(), probability.copy())
    form = getattr(changed, "dtype", type(changed).__name__), getattr(changed, "shape", ())
    if form != (np.dtype(bool), mask.shape):
        raise VesselrlError(
            f"src/vesselrl/extensions/{operation.kind}.py: operation gives {form[0]} of shape "
            f"{form[1]}; expected a mask, bool of shape {mask.shape}."
        )
    return np.asarray(changed)


def _grow(operation: Operation, mask: Mask, probability: Probability) -> Mask:
    """Hysteresis: the mask's pixels are strong; keep the weak ones joined to them.

    Canny, "A computational approach to edge detection", IEEE TPAMI 8, 1986,
    doi:10.1109/TPAMI.1986.4767851.
    """
    labels, count = ndimage.label(mask | (probability > operation.low), structure=np.ones((3, 3)))
    kept = np.zeros(count + 1, bool)
    kept[labels[mask]] = True
    return kept[labels]


def _at_the_border_too(operation: Callable[..., Mask], mask: Mask, radius: int) -> Mask:
    """Opening or closing as if the image went on beyond its border as it is there."""
    padded = operation(np.pad(mask, radius, mode="edge"), disk(radius))
    return padded[radius:-radius, radius:-radius]


_OPERATIONS: dict[str, Callable[[Operation, Mask, Probability], Mask]] = {
    "opening": lambda o, mask, _: _at_the_border_too(ndimage.binary_opening, mask, o.radius),
    "closing": lambda o, mask, _: _at_the_border_too(ndimage.binary_closing, mask, o.radius),
    "remove_small": lambda o, mask, _: remove_small_objects(
        mask, max_size=o.size - 1, connectivity=2
    ),
    "fill_holes": lambda o, mask, _: remove_small_holes(mask, max_size=o.size),
    "hysteresis": _grow,
    "dilate": lambda o, mask, _: ndimage.binary_dilation(mask, disk(o.radius)),
    "erode": lambda o, mask, _: ndimage.binary_erosion(mask, disk(o.radius), border_value=1),
}
