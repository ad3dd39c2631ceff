"""Nodes of the pipeline ``pixel_rl`` that make the reward: who pays, and what for each image."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from vesselrl.checkpoints import Checkpoints
from vesselrl.pipelines import Partitions
from vesselrl.progress import with_progress
from vesselrl.rl.pixel.parameters import PixelRLParameters
from vesselrl.samples import generator_of, ids_of, learning_pool, of_splits, unlabelled_pool

if TYPE_CHECKING:
    from vesselrl.rl.pixel.reward_maps import Judges

logger = logging.getLogger(__name__)


def make_reward_examples(
    segmenter_examples: Partitions,
    cross_fitted: Partitions,
    samples: Any,
    pixel_rl: PixelRLParameters,
    seed: int,
) -> Partitions:
    """Honest maps of every quality, and corruptions, of each training and validation image.

    Args:
        segmenter_examples: sample id → loader of the image and its truth at the working size.
        cross_fitted: sample id → loader of the maps of segmenters that never saw it.
        samples: the table of samples.
        pixel_rl: of which the reward's working size and number of corruptions are read.
        seed: with the id it fixes the corruptions of an image.

    Returns:
        Sample id → maker of `vesselrl.reward.examples.reward_examples`.
    """
    from vesselrl.ahead import made_ahead
    from vesselrl.reward.examples import ExampleMaker, Seen

    def see(sample: str) -> Seen:
        example, levels = segmenter_examples[sample](), cross_fitted[sample]()["levels"]
        return example["image"], example["truth"] > 127, levels, generator_of(sample, seed)

    loaders = {sample: partial(see, sample) for sample in ids_of(samples, "train", "val")}
    makers = made_ahead(ExampleMaker(pixel_rl.reward.examples), loaders)
    return with_progress(makers, "Making reward examples")


def train_reward(
    pixel_reward_examples: Partitions,
    samples: Any,
    pixel_reward_checkpoints: Checkpoints,
    pixel_rl: PixelRLParameters,
    objective: list[str],
    seed: int,
) -> tuple[dict[str, Any], Any]:
    """Train the reward network on the training patients, calibrate it on the validation patients.

    Returns:
        The state of the `RewardNetwork`, and its history as a table (member, iteration, loss, tau).
    """
    import pandas as pd

    from vesselrl.parameters import one_each
    from vesselrl.reward.training import train_reward_network

    network, history = train_reward_network(
        training=of_splits(pixel_reward_examples, samples, "train"),
        validation=of_splits(pixel_reward_examples, samples, "val"),
        examples=pixel_rl.reward.examples,
        parameters=pixel_rl.reward.training,
        objective=objective,
        seed=seed,
        checkpoints=pixel_reward_checkpoints,
        devices=one_each(pixel_rl.devices),
    )
    return network.state(), pd.DataFrame(history)


def judge_reward(
    pixel_reward_examples: Partitions,
    segmenter_networks: Mapping[str, Any],
    pixel_reward: dict[str, Any],
    samples: Any,
    pixel_rl: PixelRLParameters,
    objective: list[str],
) -> dict[str, Any]:
    """How well each who could pay knows the masks of validation images.

    Returns:
        Source → `vesselrl.reward.report_card.agreement` of the objective, ``mae`` and ``n_images``;
        ``paid_by``, the source that pays.
    """
    from vesselrl.rl.pixel.card import reward_card

    judges = judges_of(segmenter_networks, pixel_reward, pixel_rl)
    examples = of_splits(pixel_reward_examples, samples, "val").values()
    return {"paid_by": pixel_rl.reward.source, **reward_card(judges, examples, objective)}


def make_reward_maps(
    segmenter_examples: Partitions,
    cross_fitted: Partitions,
    segmenter_networks: Mapping[str, Any],
    pixel_reward: dict[str, Any],
    samples: Any,
    pixel_rl: PixelRLParameters,
) -> Partitions:
    """The reward of every image that is learnt from, and of the validation images.

    Without images without label the training images are learnt from. Of the segmenters then only
    the one that never saw an image judges it; the reward network did learn from its truth.

    Args:
        segmenter_examples: sample id → loader of the image at the working size.
        cross_fitted: sample id → loader of honest maps of the training images.
        segmenter_networks: name → state of a `SegmentationNetwork`.
        pixel_reward: state of the `RewardNetwork`.
        samples: the table of samples.
        pixel_rl: who pays, and which network training starts from.

    Returns:
        Sample id → maker of ``rewarded`` uint8 (3, h, w), see
        `vesselrl.rl.pixel.reward_maps.rewarded`.
    """
    from vesselrl.rl.pixel.reward_maps import reward_map, rewarded

    judges, source = judges_of(segmenter_networks, pixel_reward, pixel_rl), pixel_rl.reward.source
    if not unlabelled_pool(samples):
        logger.info("There are no images without label: RL learns on the training images.")

    def make(sample: str, left_out: bool) -> dict[str, Any]:
        image = segmenter_examples[sample]()["image"]
        opinions = (
            judges.on_left_out(image, _honest_map(cross_fitted[sample]()))
            if left_out
            else judges.on_unseen(image, source)
        )
        return {"rewarded": rewarded(image, reward_map(opinions, source))}

    pool, training = learning_pool(samples), set(ids_of(samples, "train"))
    makers: Partitions = {
        sample: partial(make, sample, sample in training)
        for sample in [*pool, *ids_of(samples, "val")]
    }
    return with_progress(makers, "Asking for the reward")


def judges_of(
    networks: Mapping[str, Any], reward: dict[str, Any], pixel_rl: PixelRLParameters
) -> "Judges":
    """The reward network, the start and the folds, of their states."""
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.rl.pixel.reward_maps import Judges
    from vesselrl.segmenters.unet.network import SegmentationNetwork
    from vesselrl.segmenters.unet.rivals import networks_of

    load = SegmentationNetwork.from_state
    folds = [load(networks[name]) for name in networks_of("fold_ensemble", list(networks))]
    return Judges(RewardNetwork.from_state(reward), load(networks[pixel_rl.start]), folds)


def _honest_map(cross_fitted: Mapping[str, Any]) -> Any:
    """Of the fold's finished network, the mean of its mirrored answers."""
    from vesselrl.segmenters.levels import from_levels

    last = cross_fitted["iterations"] == cross_fitted["iterations"].max()
    return from_levels(cross_fitted["levels"][last]).mean(0)
