"""Methods whose maps come from networks that this project trained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.evaluation.methods import NETWORK, Decide, Decision
from vesselrl.evaluation.parameters import NETWORKS, Method
from vesselrl.metrics.cuts import best_cut
from vesselrl.reward.network import RewardNetwork
from vesselrl.rl.pixel.parameters import REFINE
from vesselrl.rl.pixel.refine import refined_map
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.rivals import networks_of, rival_map

Maps = Mapping[str, Callable[[], Mapping[str, Any]]]
"""``<run>/<id>`` → loader of ``levels`` uint8 (H, W) and ``seconds``, and ``calls`` where the
segmenter itself was asked. A run is a network, or, if it was trained with several seeds,
``<network>/seeds/<n>`` for each but the first, whose maps hold its number as ``seed``."""


def operating_points(
    maps: Maps,
    masks: Mapping[str, Callable[[], npt.NDArray[np.bool_]]],
    validation: Sequence[str],
    objective: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Where each run's maps are best cut, on validation images.

    Args:
        maps: of validation images and others.
        masks: id → loader of the truth, bool (H, W).
        validation: ids.
        objective: the scores whose mean decides.

    Returns:
        Run → `vesselrl.metrics.cuts.best_cut`.
    """
    return {
        run: best_cut(
            (
                (maps[f"{run}/{sample}"]()["levels"], masks[sample]())
                for sample in validation
                if f"{run}/{sample}" in maps
            ),
            objective,
        )
        for run in sorted({name.rpartition("/")[0] for name in maps})
    }


def network_deciders(
    method: Method,
    maps: Maps,
    points: Mapping[str, Mapping[str, float]],
    images: Sequence[str],
    seed: int,
) -> dict[int, Decide]:
    """Seed → how a network decides, that of the first run first; none if maps are missing.

    Args:
        method: of the kind ``network``.
        maps: of all networks.
        points: run → ``threshold``, where its maps are cut, as `operating_points` gives it.
        images: ids of the images that are to be decided about.
        seed: under which a run without one is filed.
    """
    network = str(method.network)
    others = [run for run in points if run.startswith(f"{network}/")]
    if not all(f"{run}/{sample}" in maps for run in (network, *others) for sample in images):
        return {}
    runs = {int(maps[f"{network}/{images[0]}"]().get("seed", seed)): network}
    runs |= {int(run.rpartition("/")[2]): run for run in others}

    def decider(run: str) -> Decide:
        threshold = method.threshold or points[run]["threshold"]

        def decide(case: Any) -> Decision:
            map_ = maps[f"{run}/{case.sample}"]()
            calls = int(map_.get("calls", 0))
            return Decision(NETWORK, (), calls, float(map_["seconds"]), threshold)

        return decide

    return {number: decider(run) for number, run in runs.items()}


def networks_behind(
    network: str, trained: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """The networks that a method asks.

    Args:
        network: one of `vesselrl.evaluation.parameters.NETWORKS`.
        trained: pipeline → what it keeps of its networks for use: ``networks``, name → state of a
            `SegmentationNetwork`, and ``refiner``, state of the `RewardNetwork` that corrects the
            map of ``refine``.

    Returns:
        Name → state of each `SegmentationNetwork`, none where they were not trained; and the
        refiner's state, None where none is asked.
    """
    is_refined = network == REFINE
    for pipeline, names in NETWORKS.items():
        kept = trained.get(pipeline, {}) if network in names else {}
        if kept:
            states = kept["networks"]
            asked = networks_of("fold_ensemble" if is_refined else network, list(states))
            return {name: states[name] for name in asked}, kept["refiner"] if is_refined else None
    return {}, None


def network_map(
    network: str,
    networks: Mapping[str, SegmentationNetwork],
    refiner: RewardNetwork | None,
    image: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """The map of an image by trained networks, as `Maps` hold it.

    Args:
        network: one of `vesselrl.evaluation.parameters.NETWORKS`.
        networks: by name, those it asks.
        refiner: the reward network that corrects their map, of ``refine``.
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        uint8 (H, W), see `vesselrl.segmenters.levels`.
    """
    if refiner is not None:
        return refined_map(refiner, list(networks.values()), image)["levels"]
    return rival_map(network, networks, image)["levels"]


def run_of(method: Method, name: str, prediction: str, image: str) -> str:
    """The run behind a prediction: both are named alike.

    Args:
        method: of the kind ``network``.
        name: of the method.
        prediction: ``<name>/masks/<image>`` or ``<name>/seeds/<n>/masks/<image>``.
        image: its id.
    """
    seeds = prediction.removeprefix(name).removesuffix(f"/masks/{image}")
    return f"{method.network}{seeds}"
