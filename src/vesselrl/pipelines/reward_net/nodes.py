"""Nodes of the pipeline ``reward_net``: arrays and tables in, arrays and tables out."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from vesselrl.progress import with_progress
from vesselrl.reward.parameters import RewardParameters
from vesselrl.rl.parameters import ActionParameters
from vesselrl.samples import ids_of
from vesselrl.segmenters.parameters import SegmenterParameters

Partitions = dict[str, Callable[[], Any]]

CACHED_EXAMPLES = 500
"""Images whose examples stay in memory during training, about 2 MB each at 300 × 300 pixels."""


def make_reward_examples(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    samples: Any,
    reward: RewardParameters,
    seed: int,
) -> Partitions:
    """Candidates of every quality for each training and validation image.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        candidates: sample id → loader of the stored maps.
        samples: the table of samples.
        reward: working size and number of corruptions.
        seed: with the id it fixes the corruptions of an image.

    Returns:
        Sample id → maker of `vesselrl.reward.examples.reward_examples`.
    """
    import zlib

    import numpy as np

    from vesselrl.reward.examples import reward_examples

    def make(sample: str) -> dict[str, Any]:
        rng = np.random.default_rng([seed, zlib.crc32(sample.encode())])
        levels = candidates[sample]()["levels"]
        return reward_examples(images[sample](), masks[sample](), levels, reward.examples, rng)

    makers: Partitions = {s: partial(make, s) for s in ids_of(samples, "train", "val")}
    return with_progress(makers, "Making reward examples")


def train_network(
    reward_examples: Partitions, samples: Any, reward: RewardParameters, seed: int
) -> tuple[dict[str, Any], Any]:
    """Train on the training patients, check and calibrate on the validation patients.

    Returns:
        The state of the `RewardNetwork`, and its history as a table (member, iteration, loss, tau).
    """
    from functools import lru_cache

    import pandas as pd

    from vesselrl.reward.training import train_reward_network

    @lru_cache(maxsize=CACHED_EXAMPLES)
    def load(sample: str) -> Any:
        return reward_examples[sample]()

    network, history = train_reward_network(
        training={sample: partial(load, sample) for sample in ids_of(samples, "train")},
        validation={sample: reward_examples[sample] for sample in ids_of(samples, "val")},
        examples=reward.examples,
        parameters=reward.training,
        seed=seed,
    )
    return network.state(), pd.DataFrame(history)


def score_actions(
    images: Partitions,
    masks: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    samples: Any,
    segmenter: SegmenterParameters,
    actions: ActionParameters,
) -> Partitions:
    """True and predicted scores of every mask of validation and test images that could be chosen.

    Returns:
        Sample id → maker of `vesselrl.rl.scenes.score_settings`, float64 arrays (A,).
    """
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.rl.actions import ActionSet
    from vesselrl.rl.scenes import SceneLoader, score_settings

    action_set = ActionSet.of(list(segmenter.prompts), segmenter.default_prompt, actions)
    load = SceneLoader(images, masks, candidates, RewardNetwork.from_state(reward_network))
    ids = ids_of(samples, "val", "test")
    makers: Partitions = {
        sample: partial(score_settings, load, sample, action_set) for sample in ids
    }
    return with_progress(makers, "Scoring masks")


def write_report_card(
    action_scores: Partitions, samples: Any, reward: RewardParameters
) -> dict[str, Any]:
    """The report card on validation and on test patients, and the verdict (validation alone).

    Returns:
        ``val`` and ``test``, see `vesselrl.reward.report_card.report_card`; ``fit`` and ``reason``;
        ``rivals``: on validation patients, how the segmenter's own confidence orders masks, which
        costs no reward network.
    """
    from vesselrl.reward.report_card import fitness, ordering, report_card

    val, test = (list(_scores(action_scores, samples, split)) for split in ("val", "test"))
    card = report_card(val)
    return {
        "val": card,
        "test": report_card(test),
        "rivals": {"segmenter_confidence": ordering(val, "confidence")},
        **fitness(card, reward.fit_tau),
    }


def draw_report_card(action_scores: Partitions, samples: Any, reward_history: Any) -> Any:
    """Predicted against true Dice on validation and test patients, rankings and learning curves."""
    from vesselrl.reward.figures import draw_report_card as draw

    scores = {split: list(_scores(action_scores, samples, split)) for split in ("val", "test")}
    return draw(scores, reward_history)


def _scores(action_scores: Partitions, samples: Any, split: str) -> Iterator[dict[str, Any]]:
    return (action_scores[sample]() for sample in ids_of(samples, split))
