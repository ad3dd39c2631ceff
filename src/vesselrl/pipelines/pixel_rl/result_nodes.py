"""Nodes of the pipeline ``pixel_rl`` that show what came of it."""

from collections.abc import Callable, Mapping
from typing import Any

from vesselrl.pipelines import Partitions
from vesselrl.rl.pixel.parameters import PIXEL_RL, REFINE, PixelRLParameters
from vesselrl.samples import ids_of
from vesselrl.seeds import place_of_seed


def draw_training(histories: Mapping[int, Any]) -> Any:
    """Proxy and gold of all seeds, a Figure."""
    import pandas as pd

    from vesselrl.rl.pixel.figures import draw_proxy_and_gold

    curves = [history.assign(seed=seed) for seed, history in histories.items()]
    return draw_proxy_and_gold(pd.concat(curves, ignore_index=True))


def compare_with_start(
    images: Partitions,
    masks: Partitions,
    network_maps: Partitions,
    segmenter_networks: Mapping[str, Any],
    pixel_models: Mapping[int, Any],
    samples: Any,
    pixel_rl: PixelRLParameters,
) -> Any:
    """Dice of validation images before and after, all maps cut at 0.5.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W).
        network_maps: see `map_networks`.
        segmenter_networks: name → state of a `SegmentationNetwork`.
        pixel_models: of which the seeds are read.
        samples: the table of samples.
        pixel_rl: which network training started from.

    Returns:
        A table: method, seed, image, group, dice_before, dice_after.
    """
    import numpy as np
    import pandas as pd

    from vesselrl.metrics.masks import overlap_scores

    start_mask = _start_mask(segmenter_networks, pixel_rl)
    groups = samples.set_index("id")["group"]
    first = next(iter(pixel_models))
    named = [(PIXEL_RL, seed, place_of_seed(PIXEL_RL, seed, first)) for seed in pixel_models]
    named.append((REFINE, first, REFINE))
    rows = []
    for sample in ids_of(samples, "val"):
        after = [_mask(network_maps[f"{folder}/{sample}"]) for *_, folder in named]
        drawn = np.stack([start_mask(images[sample]()), *after])
        before, *dice = overlap_scores(drawn, masks[sample]())["dice"]
        for (method, seed, _), score in zip(named, dice, strict=True):
            rows.append([method, seed, sample, groups[sample], before, score])
    columns = ["method", "seed", "image", "group", "dice_before", "dice_after"]
    return pd.DataFrame(rows, columns=columns)


def _start_mask(networks: Mapping[str, Any], pixel_rl: PixelRLParameters) -> Callable[[Any], Any]:
    """From an image to the mask, bool (H, W), that it had before."""
    from vesselrl.segmenters.unet.network import SegmentationNetwork

    start = SegmentationNetwork.from_state(networks[pixel_rl.start])
    return lambda image: start.probability(image) > 0.5


def _mask(load: Callable[[], Mapping[str, Any]]) -> Any:
    from vesselrl.segmenters.levels import from_levels

    return from_levels(load()["levels"]) > 0.5


def draw_dice(pixel_rl_validation: Any) -> Any:
    """Dice of each validation image before and after, a Figure."""
    from vesselrl.rl.pixel.figures import draw_dice_before_and_after

    return draw_dice_before_and_after(pixel_rl_validation)


def draw_before_and_after(
    images: Partitions,
    masks: Partitions,
    network_maps: Partitions,
    segmenter_networks: Mapping[str, Any],
    reward_maps: Partitions,
    pixel_rl_validation: Any,
    pixel_rl: PixelRLParameters,
) -> Any:
    """Validation images from the one that lost most to the one that gained most, a Figure."""
    from vesselrl.reward.closed_form import error_probability
    from vesselrl.reward.error_maps import evenly_spread
    from vesselrl.rl.pixel.figures import Shown
    from vesselrl.rl.pixel.figures import draw_before_and_after as draw
    from vesselrl.rl.pixel.reward_maps import q_of

    of_method = pixel_rl_validation[pixel_rl_validation["method"] == PIXEL_RL]
    first = of_method.drop_duplicates("image")  # the rows of the first seed
    gains = dict(zip(first["image"], first["dice_after"] - first["dice_before"], strict=True))
    start_mask = _start_mask(segmenter_networks, pixel_rl)

    def show(sample: str) -> Shown:
        image, after = images[sample](), _mask(network_maps[f"{PIXEL_RL}/{sample}"])
        q = q_of(reward_maps[sample]()["rewarded"], after.shape)
        expected = error_probability(after, q[None])
        return Shown(sample, image, masks[sample](), start_mask(image), after, expected)

    return draw([show(sample) for sample in evenly_spread(gains)])
