"""Nodes of the pipeline ``sa2va_rl``: adapters of a Sa2VA model, and its maps with them."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from vesselrl.checkpoints import training_fingerprint
from vesselrl.errors import VesselrlError
from vesselrl.pipelines import Partitions
from vesselrl.progress import SharedProgress, with_progress
from vesselrl.reward.fitness import check_fit
from vesselrl.rl.pixel.parameters import SA2VA_RL, Sa2vaRLParameters
from vesselrl.rl.run_folder import RunFolder
from vesselrl.samples import group_hashes, ids_of, learning_pool, unlabelled_pool
from vesselrl.seeds import place_of_seed
from vesselrl.segmenters.parameters import SegmenterParameters

if TYPE_CHECKING:
    from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters

logger = logging.getLogger(__name__)

PACKAGES = ("vesselrl", "numpy", "torch", "transformers", "peft")
ADAPTERS = "adapters"
"""The folder that a finished training writes; see ``conf/base/catalog_sa2va_rl.yml``."""


def make_reward_maps(
    images: Partitions,
    candidates: Partitions,
    reward_network: dict[str, Any],
    samples: Any,
    sa2va_rl: Sa2vaRLParameters,
    segmenter: SegmenterParameters,
) -> Partitions:
    """The reward of every image that is learnt from, and of the validation images.

    The reward network is asked about the mean of the segmenter's maps, as everywhere. Without
    images without label the training images are learnt from, whose truth it knows.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        candidates: sample id → loader of the segmenter's stored maps.
        reward_network: state of the `RewardNetwork`.
        samples: the table of samples.
        sa2va_rl: of which the working size is read.
        segmenter: a Sa2VA model.

    Returns:
        Sample id → maker of ``rewarded`` uint8 (3, h, w), see
        `vesselrl.rl.pixel.reward_maps.rewarded`.

    Raises:
        VesselrlError: the segmenter is no Sa2VA model.
    """
    from vesselrl.networks.imaging import reduced
    from vesselrl.reward.network import RewardNetwork, mean_candidate
    from vesselrl.rl.pixel.reward_maps import reward_map, rewarded
    from vesselrl.segmenters.levels import from_levels
    from vesselrl.segmenters.unet.examples import segmenter_example

    _sa2va(segmenter)
    network = RewardNetwork.from_state(reward_network)

    def make(sample: str) -> dict[str, Any]:
        image = segmenter_example(images[sample](), None, sa2va_rl.max_side)["image"]
        candidate = mean_candidate(from_levels(candidates[sample]()["levels"]))
        opinions = network.opinions(image, reduced(candidate, sa2va_rl.max_side))
        return {"rewarded": rewarded(image, reward_map({"network": opinions}, "network"))}

    if not unlabelled_pool(samples):
        logger.info("There are no images without label: RL learns on the training images.")
    ids = [*learning_pool(samples), *ids_of(samples, "val")]
    return with_progress({s: partial(make, s) for s in ids}, "Asking for the reward")


def encode_images(images: Partitions, samples: Any, segmenter: SegmenterParameters) -> Partitions:
    """What the model's mask decoder is given of each image, asked the default prompt.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        samples: the table of samples.
        segmenter: a Sa2VA model.

    Returns:
        Sample id → maker of the tensors of `vesselrl.segmenters.sa2va.decoding.Encoded`; see
        `vesselrl.segmenters.sa2va.encoding.encodings`.

    Raises:
        VesselrlError: see `vesselrl.segmenters.sa2va.encoding.Encoder`.
    """
    from vesselrl.segmenters.sa2va.encoding import Encoder, encodings

    labelled = ids_of(samples, "train", "val", "test")
    ids = dict.fromkeys([*learning_pool(samples), *labelled])
    encode = Encoder(_sa2va(segmenter), segmenter.default_prompt)
    return with_progress(encodings(encode, {s: images[s] for s in ids}), "Encoding images")


def train_adapters(
    images: Partitions,
    masks: Partitions,
    encodings: Partitions,
    reward_maps: Partitions,
    samples: Any,
    reward_net_report: Mapping[str, Any],
    run_folder: RunFolder,
    sa2va_rl: Sa2vaRLParameters,
    segmenter: SegmenterParameters,
    objective: list[str],
    allow_unfit_reward: bool,
) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """Train adapters of one model by reward, a set a seed.

    Args:
        images: sample id → loader of uint8 (H, W) or (H, W, 3).
        masks: sample id → loader of the truth, bool (H, W); of training and validation images.
        encodings: see `encode_images`.
        reward_maps: see `make_reward_maps`.
        samples: the table of samples.
        reward_net_report: whether the reward network may pay.
        run_folder: receives checkpoints and logs while training runs; an interrupted training of
            the same data and parameters is gone on with.
        sa2va_rl: seeds, adapters and policy.
        segmenter: a Sa2VA model.
        objective: the scores whose mean is paid.
        allow_unfit_reward: whether a reward network that is not fit to may pay.

    Returns:
        Three mappings from seed: `vesselrl.segmenters.sa2va.adapters.Adapters`, the history (a
        DataFrame, one row a look) and the training's facts (``training_info.json``).

    Raises:
        VesselrlError: the reward network is not fit to pay, or the model sees nothing in any of the
            images to learn from.
    """
    from importlib.metadata import version

    import pandas as pd
    import torch

    from vesselrl.networks.residents import Residents
    from vesselrl.rl.pixel.adapters import AdapterLearner, Judged, with_an_object
    from vesselrl.rl.pixel.guard import Guard, unlabelled_view, validation_view
    from vesselrl.rl.pixel.reward_maps import labelled
    from vesselrl.rl.pixel.seeds import learn_in
    from vesselrl.rl.pixel.training import learned
    from vesselrl.segmenters.sa2va.decoding import Encoded, load_decoder
    from vesselrl.segmenters.unet.examples import segmenter_example

    check_fit(reward_net_report, allow_unfit_reward)
    model = _sa2va(segmenter)
    pool = learning_pool(samples)
    training, validation = (ids_of(samples, split) for split in ("train", "val"))

    def encoded(sample: str) -> Encoded:
        return Encoded.of(encodings[sample]())

    def rewarded(sample: str) -> Judged:
        return Judged(encoded(sample), torch.from_numpy(reward_maps[sample]()["rewarded"]))

    def with_truth(sample: str) -> Judged:
        example = segmenter_example(images[sample](), masks[sample](), sa2va_rl.max_side)
        maps = labelled(example["image"], example["truth"])
        return Judged(encoded(sample), torch.from_numpy(maps))

    shares = ((sa2va_rl.policy.unlabelled, pool), (sa2va_rl.policy.labelled, training))
    learnt_from = [ids for share, ids in shares if share]
    seen = with_an_object(learnt_from, encodings, segmenter.default_prompt)
    unlabelled, with_labels = (
        Residents([partial(load, sample) for sample in ids if sample in seen])
        for load, ids in ((rewarded, pool), (with_truth, training))
    )
    guard = Guard(
        validation=[
            partial(validation_view, partial(encoded, sample), masks[sample], reward_maps[sample])
            for sample in validation
        ],
        unlabelled=[
            partial(unlabelled_view, reward_maps[sample], partial(encoded, sample))
            for sample in pool
        ],
        objective=objective,
    )
    config = {
        "sa2va_rl": sa2va_rl.model_dump(),
        "segmenter": segmenter.model_dump(mode="json"),
        "objective": list(objective),
    }
    packages = {package: version(package) for package in PACKAGES}
    labels: Partitions = {
        sample: partial(_labelled, images[sample], masks[sample])
        for sample in [*training, *validation]
    }
    data = {"maps": reward_maps, "labelled": labels}
    fingerprint = training_fingerprint(data, [config, packages])
    run_folder.begin(fingerprint, sa2va_rl.resume == "auto")
    decoder = load_decoder(model)
    adapters, histories, infos = {}, {}, {}
    for seed in sa2va_rl.seeds:
        folder = run_folder.of_seed(seed, sa2va_rl.seeds[0])
        learner = AdapterLearner(
            decoder, model.merge, sa2va_rl.lora, sa2va_rl.policy, objective, seed
        )
        progress = SharedProgress([str(seed)])
        with progress.shown(f"RL on the decoder, seed {seed}", sa2va_rl.policy.iterations):
            state = learn_in(
                folder,
                learner,
                unlabelled,
                with_labels,
                guard,
                sa2va_rl.policy,
                fingerprint,
                partial(progress.tell, str(seed)),
            )
        found = learned(sa2va_rl.policy, state)
        adapters[seed] = learner.release(found.weights, model.base)._replace(
            groups=group_hashes(samples, [*pool, *training])
        )
        histories[seed] = pd.DataFrame(found.history)
        infos[seed] = {
            "seed": seed,
            **found.result,
            "trained_parameters": learner.trained,
            "fingerprint": fingerprint,
            "packages": packages,
            "unlabelled_images": len(unlabelled_pool(samples)),
            "training_images": len(training),
            "validation_images": len(validation),
            "without_object": len(set().union(*learnt_from) - seen),
            "config": config,
        }
    return adapters, histories, infos


def map_adapted(
    encodings: Partitions,
    adapters: Mapping[int, Any],
    samples: Any,
    segmenter: SegmenterParameters,
) -> Partitions:
    """Maps of validation and test images by the model with its adapters, asked the default prompt.

    Args:
        encodings: see `encode_images`.
        adapters: seed → `vesselrl.segmenters.sa2va.adapters.Adapters`.
        samples: the table of samples.
        segmenter: a Sa2VA model.

    Returns:
        ``sa2va_rl/<id>``, for further seeds ``sa2va_rl/seeds/<n>/<id>`` → maker of ``levels`` uint8
        (H, W), ``seconds`` (of the whole model), ``calls`` of the segmenter, 1, and ``seed``.
    """
    import time

    import numpy as np

    from vesselrl.rl.pixel.adapters import AdapterPolicy
    from vesselrl.segmenters.levels import to_levels
    from vesselrl.segmenters.sa2va.adapters import attach, weights_of
    from vesselrl.segmenters.sa2va.decoding import Encoded, load_decoder

    model, first = _sa2va(segmenter), next(iter(adapters))
    lora = adapters[first].config
    decoder = attach(load_decoder(model), lora["r"], lora["lora_alpha"], seed=0)
    policies = {
        seed: AdapterPolicy(decoder, weights_of(decoder, of_seed), model.merge)
        for seed, of_seed in adapters.items()
    }

    def make(seed: int, sample: str) -> dict[str, Any]:
        image = Encoded.of(encodings[sample]())
        started = time.perf_counter()
        probability = policies[seed].probability(image)
        return {
            "levels": to_levels(probability),
            "seconds": np.array(image.seconds + time.perf_counter() - started),
            "calls": np.array(1),
            "seed": np.array(seed),
        }

    makers: Partitions = {}
    for seed in adapters:
        folder = place_of_seed(SA2VA_RL, seed, first)
        ids = ids_of(samples, "val", "test")
        makers |= {f"{folder}/{sample}": partial(make, seed, sample) for sample in ids}
    return with_progress(makers, "Mapping after RL", unit="map")


def describe_adapted(infos: Mapping[int, Mapping[str, Any]], reward_history: Any) -> dict[str, Any]:
    """What it takes to have the adapters, as `vesselrl.segmenters.unet.rivals.rival_facts` says it.

    The model itself counts as the segmenter; its training is not known.
    """
    first = next(iter(infos.values()))
    reward = float(reward_history["seconds"].max())
    return {
        SA2VA_RL: {
            "files": [ADAPTERS],
            "parameters": first["trained_parameters"],
            "passes": 1,
            "training_seconds": round(reward + first["seconds"], 3),
        }
    }


def _sa2va(segmenter: SegmenterParameters) -> "Sa2vaParameters":
    """The parameters, if they are of a Sa2VA model without adapters."""
    from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters

    if not isinstance(segmenter, Sa2vaParameters):
        raise VesselrlError(
            f"The pipeline sa2va_rl trains adapters of a Sa2VA model, and segmenter.kind is "
            f"{segmenter.kind}: add --env sa2va --params segmenter.path=… (If another pipeline "
            "asked for it: 04_feature/network_maps/sa2va_rl is of a Sa2VA model; give this "
            "segmenter an out_dir of its own, or delete that folder.)"
        )
    if segmenter.adapters is not None:
        raise VesselrlError(
            "segmenter.adapters is set, and the pipeline sa2va_rl trains adapters of the model "
            "itself: leave it out, with another out_dir if that one holds the adapted model's maps."
        )
    return segmenter


def _labelled(image: Callable[[], Any], mask: Callable[[], Any]) -> dict[str, Any]:
    return {"image": image(), "truth": mask()}
