"""Which channel of a colour image shows vessels."""

import numpy as np
import numpy.typing as npt


def one_channel(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grey image as it is, of a colour image the green channel.

    Blood is darkest in green, in retinal photographs above all.

    Args:
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        uint8 (H, W).
    """
    return image if image.ndim == 2 else image[..., 1]
