"""What a policy sees: features of the image and of the mask so far, never of the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import sato
from skimage.morphology import skeletonize
from skimage.transform import resize

from vesselrl.colour import one_channel
from vesselrl.errors import VesselrlError
from vesselrl.rl.operations import Mask, Probability
from vesselrl.rl.parameters import Observations

if TYPE_CHECKING:
    from vesselrl.reward.network import RewardNetwork

Features = npt.NDArray[np.float32]
FeatureFunction = Callable[[npt.NDArray[np.uint8]], Features]

SIDE = 256
"""Images are reduced to this side before their features are taken, so that those compare."""
DARK = 0.1
"""Grey values below this count as outside the collimator."""
BINS = 64

IMAGE_FEATURES = (
    "mean", "standard_deviation", "skewness", "percentile_5", "percentile_50", "percentile_95",
    "entropy", "dark_fraction", "background_variation", "gradient_mean", "gradient_percentile_95",
    "noise", "fine_ridges", "coarse_ridges", "strongest_ridges", "fine_to_coarse",
)  # fmt: skip
MASK_FEATURES = (
    "area", "regions", "largest_region", "length", "width", "confidence_inside",
    "confidence_around", "captured",
)  # fmt: skip


def feature_function(observations: Observations, network: "RewardNetwork") -> FeatureFunction:
    """What is seen of an image before the segmenter is asked: image → float32 (F,).

    ``handmade`` are `image_features`, F = 16; ``reward_network`` are what the network makes of the
    image alone, `RewardNetwork.image_features`.
    """
    return network.image_features if observations == "reward_network" else image_features


def image_features(image: npt.NDArray[np.uint8]) -> Features:
    """Brightness, contrast, texture and ridges of an image.

    Args:
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        float32 (16,), in the order of `IMAGE_FEATURES`.
    """
    grey = one_channel(image).astype(np.float32) / 255
    if (factor := SIDE / max(grey.shape)) < 1:
        grey = resize(grey, [max(1, round(s * factor)) for s in grey.shape], anti_aliasing=True)
    mean, spread = float(grey.mean()), float(grey.std())
    histogram = np.histogram(grey, BINS, (0, 1))[0] / grey.size
    background = ndimage.gaussian_filter(grey, SIDE / 16)
    gradient = ndimage.gaussian_gradient_magnitude(grey, 1)
    # Median absolute deviation of the Laplacian: edges and vessels are too few to move it.
    noise = float(np.median(np.abs(ndimage.laplace(grey))))
    fine, coarse = (float(_ridges(grey, sigma).mean()) for sigma in (1.5, 4.0))
    strongest = float(np.percentile(_ridges(grey, 2.5), 95))
    return np.array(
        [
            mean,
            spread,
            float(((grey - mean) ** 3).mean() / max(spread, 1e-3) ** 3),
            *np.percentile(grey, [5, 50, 95]),
            float(-(histogram[histogram > 0] * np.log(histogram[histogram > 0])).sum()),
            float((grey < DARK).mean()),
            float(background.std()),
            float(gradient.mean()),
            float(np.percentile(gradient, 95)),
            noise,
            fine,
            coarse,
            strongest,
            fine / (coarse + 1e-4),
        ],
        np.float32,
    )


def _ridges(grey: npt.NDArray[np.floating], sigma: float) -> npt.NDArray[np.floating]:
    return sato(grey, [sigma], black_ridges=True, mode="reflect")


def mask_features(mask: Mask, probability: Probability) -> Features:
    """Size, shape and confidence of a mask, all about 0 to 1.

    Args:
        mask: bool (H, W).
        probability: float32 (H, W) in [0, 1], the map it came from.

    Returns:
        float32 (8,), in the order of `MASK_FEATURES`.
    """
    total = float(probability.sum())
    if not mask.any():
        around = float(probability.mean())
        return np.array([0, 0, 0, 0, 0, 0, around, 0], np.float32)
    labels, regions = ndimage.label(mask, structure=np.ones((3, 3)))
    area = int(mask.sum())
    length = int(skeletonize(mask).sum())
    around = ndimage.binary_dilation(mask, iterations=3) & ~mask
    return np.array(
        [
            area / mask.size * 5,
            np.log1p(regions) / 5,
            np.bincount(labels.ravel())[1:].max() / area,
            length / sum(mask.shape) / 4,
            area / max(length, 1) / 10,
            float(probability[mask].mean()),
            float(probability[around].mean()) if around.any() else 0.0,
            float(probability[mask].sum()) / max(total, 1e-6),
        ],
        np.float32,
    )


@dataclass(frozen=True)
class Observer:
    """Makes an observation of features: standardised image features, mask features, the step.

    Experiments of a single step see the image alone: before it nothing has been done to the mask.

    Attributes:
        mean: float32 (F,), of the training images' features.
        scale: float32 (F,), their standard deviation, 1 where they do not vary.
        length: steps of an episode.
        observations: which features of the image these are, see `feature_function`.
    """

    mean: Features
    scale: Features
    length: int
    observations: Observations = "handmade"

    @classmethod
    def fit(
        cls, features: Features, length: int, observations: Observations = "handmade"
    ) -> "Observer":
        """Standardise by the training images, float32 (N, F)."""
        scale = np.where((scale := features.std(0)) > 1e-6, scale, 1).astype(np.float32)
        return cls(features.mean(0), scale, length, observations)

    @property
    def size(self) -> int:
        """Length of an observation."""
        return len(self.mean) + (len(MASK_FEATURES) + 1 if self.sees_masks else 0)

    @property
    def sees_masks(self) -> bool:
        """Whether the mask so far is part of an observation."""
        return self.length > 1

    def __call__(self, of_image: Features, of_mask: Callable[[], Features], step: int) -> Features:
        """The observation before a step (counted from 0), float32 (size,).

        Raises:
            VesselrlError: these are not the features it was fitted to.
        """
        if of_image.shape != self.mean.shape:
            raise VesselrlError(
                f"The policy was trained on {self.mean.size} features of an image "
                f"(rl.observations: {self.observations}) and is shown {of_image.size}: it belongs "
                "to another reward network. Train it again: kedro run --pipeline experiments."
            )
        # Clipped: an image unlike all training images must not send the policy far off.
        standardised = np.clip((of_image - self.mean) / self.scale, -5, 5)
        if not self.sees_masks:
            return standardised
        return np.concatenate([standardised, of_mask(), [np.float32(step / self.length)]])
