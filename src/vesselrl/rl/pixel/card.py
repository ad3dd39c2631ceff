"""How well those who could pay know masks: what the reward network adds to the fold ensemble."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vesselrl.metrics.masks import objective_of
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.examples import Loader
from vesselrl.reward.rankings import Ranking
from vesselrl.reward.report_card import agreement
from vesselrl.rl.pixel.parameters import Source
from vesselrl.rl.pixel.reward_maps import Judges, reward_map


def reward_card(
    judges: Judges, validation: Iterable[Loader], objective: Sequence[str]
) -> dict[str, Any]:
    """Agreement of the expected with the true objective of the masks of validation images.

    Args:
        judges: the reward network and the fold networks.
        validation: loaders of the `reward_examples` of images of other patients than those learnt
            from; their masks are the honest maps, cut at several thresholds.
        objective: the scores whose mean is paid.

    Returns:
        Source → `agreement`, ``mae`` and ``n_images``; without images the number alone.
    """
    pairs: dict[Source, list[Any]] = {"network": [], "ensemble": [], "both": []}
    for load in validation:
        ranking = Ranking.of(load())
        true = objective_of(ranking.true, objective)
        opinions = judges.on_unseen(ranking.image, "both")
        for source, of_source in pairs.items():
            q = reward_map(opinions, source).q
            expected = expected_scores(ranking.masks, q[None])
            judged = objective_of({k: score[:, 0] for k, score in expected.items()}, objective)
            of_source.append((judged, true))
    return {
        source: {
            **(agreement(of_source) if of_source else {}),
            **({"mae": _mean_error(of_source)} if of_source else {}),
            "n_images": len(of_source),
        }
        for source, of_source in pairs.items()
    }


def _mean_error(pairs: Sequence[Any]) -> float:
    return float(np.mean([np.abs(judged - true).mean() for judged, true in pairs]))
