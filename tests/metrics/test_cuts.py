import numpy as np
import pytest

from vesselrl.metrics.cuts import CUTS, best_cut, scores_over_cuts
from vesselrl.metrics.masks import mask_metrics
from vesselrl.segmenters.levels import from_levels


@pytest.mark.parametrize("vessels", [True, False])
def test_scores_over_thresholds_are_those_of_the_masks_themselves(vessels: bool) -> None:
    random = np.random.default_rng(3)
    levels = random.integers(0, 256, (12, 9)).astype(np.uint8)
    truth = (random.random((12, 9)) < 0.3) & vessels
    scores = scores_over_cuts(levels, truth)
    for number in (0, 127, 200, 254):
        expected = mask_metrics(from_levels(levels) > CUTS[number], truth)
        for name in ("dice", "recall", "precision"):
            assert scores[name][number] == pytest.approx(expected[name])


def test_the_best_threshold_is_that_of_the_best_mean_over_the_images() -> None:
    random = np.random.default_rng(0)
    maps = [
        (random.integers(0, 256, (12, 9)).astype(np.uint8), random.random((12, 9)) < 0.3)
        for _ in range(3)
    ]
    best = best_cut(maps, ["dice", "precision"])

    def mean(threshold: float, scores: tuple[str, ...]) -> float:
        masks = [(from_levels(levels) > threshold, truth) for levels, truth in maps]
        return float(np.mean([[mask_metrics(*pair)[score] for score in scores] for pair in masks]))

    assert best["objective"] == pytest.approx(mean(best["threshold"], ("dice", "precision")))
    for name in ("dice", "recall", "precision"):
        assert best[name] == pytest.approx(mean(best["threshold"], (name,)))
    for threshold in CUTS[::16]:
        assert best["objective"] >= mean(threshold, ("dice", "precision")) - 1e-12


def test_without_images_a_map_is_cut_at_one_half() -> None:
    assert best_cut([], ["dice"]) == {"threshold": 0.5}
