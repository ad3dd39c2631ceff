"""How unlike the training images an image is, before anything is known of its mask."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

TINY = 1e-6
"""Features that vary less than this do not vary."""


@dataclass(frozen=True)
class Reference:
    """Where images of the kind that was trained on lie among features of images.

    The features are `vesselrl.rl.observations.image_features`, brightness, contrast, texture and
    ridges, not those of a network, as in Lee et al. ("A simple unified framework for detecting
    out-of-distribution samples and adversarial attacks", NeurIPS 2018, arXiv:1807.03888): a network
    is trained to overlook just such changes. The distance of an image is theirs, Mahalanobis' from
    the training images with a single class. Each feature is standardised, and the covariance shrunk
    towards a multiple of the identity, by as much as Ledoit and Wolf ("A well-conditioned estimator
    for large-dimensional covariance matrices", Journal of Multivariate Analysis 88, 2004,
    doi:10.1016/S0047-259X(03)00096-4) find best for few images.

    Attributes:
        mean: float64 (F,), of the training images.
        scale: float64 (F,), their standard deviation, 1 where they do not vary.
        precision: float64 (F, F), the inverse of the covariance of their standardised features.
        distances: float64 (N,), ascending, of the validation images: nothing was trained on those,
            as nothing will have been on new ones.
    """

    mean: Numbers
    scale: Numbers
    precision: Numbers
    distances: Numbers

    @classmethod
    def fit(cls, training: npt.NDArray[Any], validation: npt.NDArray[Any]) -> "Reference":
        """The reference of images' features, (T, F) and (N, F), at least one each."""
        mean, spread = (np.asarray(of(training, 0, np.float64)) for of in (np.mean, np.std))
        scale = np.where(spread > TINY, spread, 1.0)
        covariance = shrunk_covariance((training - mean) / scale)
        inverse = np.asarray(np.linalg.inv(covariance), np.float64)
        whole = cls(mean, scale, inverse, np.empty(0))
        distances = np.sort([whole.distance(features) for features in validation])
        return replace(whole, distances=distances)

    def distance(self, features: npt.NDArray[Any]) -> float:
        """Mahalanobis' distance of an image's features, (F,), from the training images."""
        apart = (features - self.mean) / self.scale
        return float(np.sqrt(apart @ self.precision @ apart))

    def share_nearer(self, features: npt.NDArray[Any]) -> float:
        """The share of validation images that are nearer to the training images, in [0, 1].

        Of images like the validation images all values are equally frequent; 1 says that none of
        these was so far off.
        """
        nearer = np.searchsorted(self.distances, self.distance(features))
        return float(nearer / len(self.distances))

    def state(self) -> dict[str, Any]:
        """The reference as tensors."""
        import torch

        return {name: torch.tensor(value) for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Reference":
        """The reference that `state` describes."""
        return cls(**{name: tensor.numpy() for name, tensor in state.items()})


def shrunk_covariance(features: Numbers) -> Numbers:
    """The covariance of N > 0 rows of F features, shrunk as Ledoit and Wolf do, (F, F).

    With S the sample covariance, m the mean of its diagonal, d² = |S - m I|² and b² the mean of
    |x xᵀ - S|² over the N centred rows x, divided by N and at most d², it is
    ``(b²/d²) m I + (1 - b²/d²) S``, squares of Frobenius' norm. A ridge of a billionth of m keeps
    it regular where the rows are equal or all but so.
    """
    count, size = features.shape
    centred = features - features.mean(0)
    sample = centred.T @ centred / count
    scale = float(np.trace(sample)) / size
    identity = np.eye(size)
    apart = float(np.square(sample - scale * identity).sum())
    # |x xᵀ - S|² summed over the rows is Σ |x|⁴ - N |S|².
    fourth = float(np.square(np.square(centred).sum(1)).sum())
    noise = (fourth / count - float(np.square(sample).sum())) / count
    share = min(1.0, max(0.0, noise / apart)) if apart > 0 else 1.0
    ridge = max(1e-9 * scale, 1e-12)
    shrunk: Numbers = share * scale * identity + (1 - share) * sample + ridge * identity
    return shrunk
