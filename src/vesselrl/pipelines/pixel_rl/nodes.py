"""Nodes of the pipeline ``pixel_rl`` that make a network better."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vesselrl.checkpoints import training_fingerprint, weight_sums
from vesselrl.pipelines import Partitions, part
from vesselrl.pipelines.pixel_rl.reward_nodes import judges_of
from vesselrl.progress import with_progress
from vesselrl.rl.pixel.parameters import PIXEL_RL, REFINE, PixelRLParameters
from vesselrl.rl.run_folder import RunFolder
from vesselrl.samples import group_hashes, ids_of, learning_pool, of_splits, unlabelled_pool
from vesselrl.seeds import place_of_seed
from vesselrl.segmenters.unet.parameters import SupervisedParameters

PACKAGES = ("vesselrl", "numpy", "torch", "monai")


def train_policies(
    images: Partitions,
    masks: Partitions,
    segmenter_examples: Partitions,
    reward_maps: Partitions,
    segmenter_networks: Mapping[str, Any],
    pixel_reward_report: Mapping[str, Any],
    samples: Any,
    run_folder: RunFolder,
    pixel_rl: PixelRLParameters,
    supervised: SupervisedParameters,
    objective: list[str],
) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """Train one segmenter a seed by reward.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W); of validation images.
        segmenter_examples: sample id → loader of training and validation images with their truth.
        reward_maps: see `make_reward_maps`.
        segmenter_networks: name → state of a `SegmentationNetwork`.
        pixel_reward_report: see `judge_reward`; it is put down with the training's facts.
        samples: the table of samples.
        run_folder: receives checkpoints and logs while training runs; an interrupted training of
            the same data and parameters is gone on with.
        pixel_rl: seeds, start and policy.
        supervised: of which the augmentation of training squares is read.
        objective: the scores whose mean is paid.

    Returns:
        Three mappings from seed: the state of the `SegmentationNetwork`, the history (a DataFrame,
        one row a look) and the training's facts (``training_info.json``).
    """
    from importlib.metadata import version

    import pandas as pd

    from vesselrl.networks.trainings import spread
    from vesselrl.rl.pixel.guard import Guard, unlabelled_view, validation_view
    from vesselrl.rl.pixel.seeds import Seeds

    pool = learning_pool(samples)
    training, validation = (ids_of(samples, split) for split in ("train", "val"))
    state = segmenter_networks[pixel_rl.start]
    guard = Guard(
        validation=[
            partial(validation_view, images[sample], masks[sample], reward_maps[sample])
            for sample in validation
        ],
        unlabelled=[partial(unlabelled_view, reward_maps[sample]) for sample in pool],
        objective=objective,
    )
    config = {
        "pixel_rl": pixel_rl.model_dump(),
        "augmentation": supervised.augmentation.model_dump(),
        "objective": list(objective),
    }
    packages = {package: version(package) for package in PACKAGES}
    labelled = of_splits(segmenter_examples, samples, "train", "val")
    data = {"maps": reward_maps, "labelled": labelled}
    made_by = [config, weight_sums(state["weights"]), packages]
    fingerprint = training_fingerprint(data, made_by)
    run_folder.begin(fingerprint, pixel_rl.resume == "auto")
    names = {seed: str(seed) for seed in pixel_rl.seeds}
    seeds = Seeds(
        start=state,
        unlabelled=[partial(part, reward_maps[sample], "rewarded") for sample in pool],
        labelled=[partial(_with_truth, segmenter_examples[sample]) for sample in training],
        guard=guard,
        parameters=pixel_rl.policy,
        strength=supervised.augmentation.strength,
        folders={name: run_folder.of_seed(seed, pixel_rl.seeds[0]) for seed, name in names.items()},
        fingerprint=fingerprint,
    )
    steps = pixel_rl.policy.iterations
    spread(seeds, list(names.values()), pixel_rl.devices, "RL on pixels", steps)
    runs = {seed: seeds.learned(name) for seed, name in names.items()}
    facts = {
        "start": pixel_rl.start,
        "reward": dict(pixel_reward_report),
        "fingerprint": fingerprint,
        "packages": packages,
        "unlabelled_images": len(unlabelled_pool(samples)),
        "training_images": len(training),
        "validation_images": len(validation),
        "config": config,
    }
    groups = sorted({*state.get("groups", ()), *group_hashes(samples, [*pool, *training])})
    return (
        {seed: {**state, "weights": run.weights, "groups": groups} for seed, run in runs.items()},
        {seed: pd.DataFrame(run.history) for seed, run in runs.items()},
        {seed: {"seed": seed, **run.result, **facts} for seed, run in runs.items()},
    )


def _with_truth(example: Callable[[], Any]) -> Any:
    from vesselrl.rl.pixel.reward_maps import labelled

    loaded = example()
    return labelled(loaded["image"], loaded["truth"])


def export_weights(pixel_models: Mapping[int, Mapping[str, Any]]) -> dict[int, Any]:
    """Seed → the `SegmentationNetwork` after RL, to deploy or to start another training from."""
    from vesselrl.segmenters.unet.network import SegmentationNetwork

    return {seed: SegmentationNetwork.from_state(state) for seed, state in pixel_models.items()}


def keep_networks(
    pixel_models: Mapping[int, Mapping[str, Any]],
    segmenter_networks: Mapping[str, Any],
    pixel_reward: dict[str, Any],
) -> dict[str, Any]:
    """What new images need of the networks.

    Returns:
        ``networks``, the first seed's after RL and the folds', and ``refiner``, the reward network;
        see `vesselrl.evaluation.networks.networks_behind`.
    """
    from vesselrl.segmenters.unet.rivals import networks_of

    folds = networks_of("fold_ensemble", list(segmenter_networks))
    networks = {PIXEL_RL: dict(next(iter(pixel_models.values())))}
    networks |= {name: segmenter_networks[name] for name in folds}
    return {"networks": networks, "refiner": pixel_reward}


def map_networks(
    images: Partitions,
    pixel_models: Mapping[int, Mapping[str, Any]],
    segmenter_networks: Mapping[str, Any],
    pixel_reward: dict[str, Any],
    samples: Any,
    pixel_rl: PixelRLParameters,
) -> Partitions:
    """Maps of validation and test images after RL, and by the rival without RL.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        pixel_models: seed → state of the `SegmentationNetwork` that RL made.
        segmenter_networks: name → state of a `SegmentationNetwork`.
        pixel_reward: state of the `RewardNetwork`.
        samples: the table of samples.
        pixel_rl: which network training started from.

    Returns:
        ``pixel_rl/<id>``, for further seeds ``pixel_rl/seeds/<n>/<id>``, and ``refine/<id>`` →
        maker of ``levels`` uint8 (H, W) and ``seconds``; those after RL hold their ``seed`` too.
    """
    import numpy as np

    from vesselrl.rl.pixel.refine import refined_map
    from vesselrl.segmenters.unet.network import SegmentationNetwork
    from vesselrl.segmenters.unet.rivals import rival_map

    judges = judges_of(segmenter_networks, pixel_reward, pixel_rl)
    first = next(iter(pixel_models))
    folders = {seed: place_of_seed(PIXEL_RL, seed, first) for seed in pixel_models}
    networks = {
        folders[seed]: SegmentationNetwork.from_state(state) for seed, state in pixel_models.items()
    }

    def after(seed: int, sample: str) -> dict[str, Any]:
        return {**rival_map(folders[seed], networks, images[sample]()), "seed": np.array(seed)}

    def refined(sample: str) -> dict[str, Any]:
        return refined_map(judges.network, judges.folds, images[sample]())

    makers: Partitions = {}
    for sample in ids_of(samples, "val", "test"):
        makers |= {f"{folders[seed]}/{sample}": partial(after, seed, sample) for seed in folders}
        makers[f"{REFINE}/{sample}"] = partial(refined, sample)
    return with_progress(makers, "Mapping after RL", unit="map")


def describe_networks(
    pixel_models: Mapping[int, Mapping[str, Any]],
    pixel_infos: Mapping[int, Mapping[str, Any]],
    pixel_reward: dict[str, Any],
    pixel_reward_history: Any,
    segmenter_networks: Mapping[str, Any],
    segmenter_history: Any,
    pixel_rl: PixelRLParameters,
) -> dict[str, Any]:
    """Method → what it takes to have it, as `vesselrl.segmenters.unet.rivals.rival_facts` says it.

    What was trained before counts: the reward network, and the folds, or the start where that took
    longer and is needed.
    """
    from vesselrl.networks.architecture import weight_count
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.segmenters.unet.network import SegmentationNetwork
    from vesselrl.segmenters.unet.rivals import rival_facts

    networks = {n: SegmentationNetwork.from_state(s) for n, s in segmenter_networks.items()}
    seconds = segmenter_history.groupby("network")["seconds"].max().to_dict()
    folds, start = (
        rival_facts(rival, networks, seconds) for rival in ("fold_ensemble", pixel_rl.start)
    )
    first = next(iter(pixel_models))
    members = RewardNetwork.from_state(pixel_reward).members
    reward = float(pixel_reward_history["seconds"].max())
    before = max(folds["training_seconds"], start["training_seconds"])
    network = SegmentationNetwork.from_state(pixel_models[first])
    return {
        PIXEL_RL: {
            "files": ["segmenter.safetensors"],
            "parameters": weight_count([network.module]),
            "passes": 1,
            "training_seconds": round(before + reward + pixel_infos[first]["seconds"], 3),
        },
        REFINE: {
            "files": [*folds["files"], "reward_net.safetensors"],
            "parameters": folds["parameters"] + weight_count(members),
            "passes": folds["passes"] + len(members),
            "training_seconds": round(folds["training_seconds"] + reward, 3),
        },
    }
