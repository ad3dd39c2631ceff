"""All scores of the masks that the methods made of one image."""

from collections.abc import Sequence
from dataclasses import dataclass

from vesselrl.extensions import extension
from vesselrl.metrics.geometry import Geometry, Mask
from vesselrl.metrics.masks import mask_metrics


@dataclass(frozen=True)
class MaskScores:
    """Scores masks of one image, whose truth is measured once for all.

    Attributes:
        metrics: names of further metrics, modules of `vesselrl.extensions`.
    """

    metrics: Sequence[str]

    def __call__(self, masks: tuple[Mask, Sequence[Mask]]) -> list[dict[str, float]]:
        """Score the masks.

        Args:
            masks: the truth, bool (H, W), and the predictions, each bool (H, W).

        Returns:
            Of each prediction what `mask_metrics` tells, and the further metrics by name.
        """
        truth, predictions = Geometry(masks[0]), map(Geometry, masks[1])
        # Looked up here: what a module of one's own holds need not be picklable.
        measures = {name: extension(name, "metric") for name in self.metrics}
        return [
            mask_metrics(found, truth)
            | {name: float(measure(found, truth)) for name, measure in measures.items()}
            for found in predictions
        ]
