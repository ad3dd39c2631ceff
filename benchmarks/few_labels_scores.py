"""One draw of `few_labels.py`: RL with other starts and rewards, and the scores of all methods."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import finished_run

from vesselrl.checkpoints import Checkpoints
from vesselrl.metrics.cuts import CUTS, best_cut, scores_over_cuts
from vesselrl.metrics.masks import objective_of
from vesselrl.networks.imaging import reduced
from vesselrl.overrides import parse
from vesselrl.pipelines.pixel_rl import nodes, reward_nodes
from vesselrl.reward.examples import reward_examples
from vesselrl.reward.network import RewardNetwork
from vesselrl.rl.pixel.reward_maps import Judges, labelled, reward_map, rewarded
from vesselrl.rl.run_folder import RunFolder
from vesselrl.samples import ids_of, learning_pool, unlabelled_pool
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import SHIPPED
from vesselrl.segmenters.unet.weights import load_weights

TRUTH = "pixel_rl, true reward"
VARIANTS = {
    "pixel_rl from supervised": ("supervised", "both"),
    "pixel_rl, network alone": ("distilled", "network"),
    "pixel_rl, ensemble alone": ("distilled", "ensemble"),
    TRUTH: ("distilled", "both"),
}
"""Method → the network that RL starts from, and who pays."""
SHIFTED = 10
"""With so many labels RL also starts from the shipped network, which has seen none of them."""
HALF = 127
"""Place of 0.5 in `CUTS`."""


class Draw:
    """What the pipelines made of one draw, and RL on it.

    Args:
        folder: their ``out_dir``.
        everything: the same of the data set with all labels, after ``ingest``.
        data: the data set.
        environment: of the configuration.
        params: further parameters, each ``key=value``.
    """

    def __init__(
        self, folder: Path, everything: Path, data: Path, environment: str, params: list[str]
    ) -> None:
        given = parse(",".join(params))
        own = finished_run(folder.parent / "raw" / folder.name, folder, environment, given)
        self.load = own.catalog.load
        self.truths = finished_run(data, everything, environment, given).catalog.load("masks")
        self.samples, self.images = self.load("samples"), self.load("images")
        self.parameters, self.supervised = own.params["pixel_rl"], own.params["supervised"]
        self.objective = own.params["report"].objective
        self.examples, self.networks = (
            self.load("segmenter_examples"),
            self.load("segmenter_networks"),
        )
        self._variants = folder / "variants"

    def scores(self) -> Iterator[pd.DataFrame]:
        """The scores of all methods, first those that take least time."""
        rows: list[dict[str, Any]] = []
        for stage in ("segmenter", "pixel_rl"):
            maps = self.load(f"{stage}.network_maps")
            for method in sorted({name.partition("/")[0] for name in maps}):
                rows += self._rows(method, lambda s, m=method, p=maps: p[f"{m}/{s}"]()["levels"])
        policy = SegmentationNetwork.from_state(next(iter(self.load("pixel_rl.models").values())))
        rows += self._rows("pixel_rl, TTA", self._maps_of(policy, flips=True))
        shipped = load_weights(SHIPPED)
        rows += self._rows("shipped", self._maps_of(shipped))
        yield pd.DataFrame(rows)
        for method in VARIANTS:
            rows += self._rows(method, self._maps_of(self._variant(method)))
            yield pd.DataFrame(rows)
        if len(ids_of(self.samples, "train")) == SHIFTED:
            rows += self._rows("pixel_rl from shipped", self._maps_of(self._shifted(shipped)))
            yield pd.DataFrame(rows)

    def _maps_of(self, network: SegmentationNetwork, flips: bool = False) -> Callable[[str], Any]:
        return lambda sample: to_levels(network.probability(self.images[sample](), flips=flips))

    def _rows(self, method: str, levels_of: Callable[[str], Any]) -> list[dict[str, Any]]:
        """Scores on the test images, cut at 0.5 and where the validation images score best."""
        validation = ((levels_of(s), self.truths[s]()) for s in ids_of(self.samples, "val"))
        threshold = best_cut(validation, self.objective)["threshold"]
        cuts = {"half": HALF, "best": int(np.argmin(np.abs(CUTS - threshold)))}
        groups = self.samples.set_index("id")["group"]
        rows = []
        for sample in ids_of(self.samples, "test"):
            scores = scores_over_cuts(levels_of(sample), self.truths[sample]())
            scores["objective"] = objective_of(scores, self.objective)
            rows.append(
                {"method": method, "image": sample, "group": groups[sample], "cut": threshold}
                | {
                    f"{name}_at_{cut}": scores[name][place]
                    for cut, place in cuts.items()
                    for name in ("dice", "recall", "objective")
                }
            )
        return rows

    def _variant(self, method: str) -> SegmentationNetwork:
        start, source = VARIANTS[method]
        reward = self.parameters.reward.model_copy(update={"source": source})
        parameters = self.parameters.model_copy(update={"start": start, "reward": reward})
        rewards = reward_nodes.make_reward_maps(
            self.examples,
            self.load("cross_fitted"),
            self.networks,
            self.load("pixel_reward"),
            self.samples,
            parameters,
        )
        if method == TRUTH:
            pool = learning_pool(self.samples)
            rewards |= {sample: partial(self._known, sample) for sample in pool}
        return self._trained(method, parameters, self.networks, rewards)

    def _known(self, sample: str) -> dict[str, Any]:
        """A reward map that is the truth."""
        image = self.examples[sample]()["image"]
        truth = reduced(self.truths[sample]().astype(np.float32), max(image.shape))
        return {"rewarded": labelled(image, np.round(truth * 255).astype(np.uint8))}

    def _shifted(self, shipped: SegmentationNetwork) -> SegmentationNetwork:
        """The labels teach the reward network alone, and it pays the shipped network."""
        seen = {}
        for sample in ids_of(self.samples, "train", "val"):
            example = self.examples[sample]()
            maps = [shipped.probability(example["image"], zoom, True) for zoom in (0.75, 1, 1.3)]
            made = reward_examples(
                example["image"],
                example["truth"] > 127,
                to_levels(np.stack(maps)),
                self.parameters.reward.examples,
                np.random.default_rng(0),
            )
            seen[sample] = partial(dict, made)
        checkpoints = Checkpoints(self._variants / "reward")
        state, _ = reward_nodes.train_reward(
            seen, self.samples, checkpoints, self.parameters, self.objective, 0
        )
        judges = Judges(RewardNetwork.from_state(state), shipped, [])
        rewards = {}
        for sample in [*unlabelled_pool(self.samples), *ids_of(self.samples, "val")]:
            image = self.examples[sample]()["image"]
            maps = reward_map(judges.on_unseen(image, "network"), "network")
            rewards[sample] = partial(dict, rewarded=rewarded(image, maps))
        policy = self.parameters.policy
        alone = {"labelled": 0, "unlabelled": policy.unlabelled + policy.labelled}
        parameters = self.parameters.model_copy(update={"policy": policy.model_copy(update=alone)})
        return self._trained("shifted", parameters, {parameters.start: shipped.state()}, rewards)

    def _trained(
        self, name: str, parameters: Any, networks: dict[str, Any], rewards: dict[str, Any]
    ) -> SegmentationNetwork:
        """What RL makes of a start, the first seed."""
        seed = parameters.seeds[0]
        models, _, infos = nodes.train_policies(
            self.images,
            self.truths,
            self.examples,
            {sample: partial(dict, make()) for sample, make in rewards.items()},
            networks,
            {},
            self.samples,
            RunFolder(self._variants / name, "final_model.pth"),
            parameters.model_copy(update={"seeds": [seed]}),
            self.supervised,
            self.objective,
        )
        told = {key: infos[seed][key] for key in ("kept_step", "gained", "seconds")}
        print(name, told, flush=True)
        return SegmentationNetwork.from_state(models[seed])


def main() -> None:
    """Score one draw; see `few_labels.run` for the arguments."""
    out, name, data, environment, *params = sys.argv[1:]
    folder = Path(out) / name
    draw = Draw(folder, folder.parent / "all", Path(data), environment, params)
    file = folder.parent / f"{name}.csv"
    for scores in draw.scores():
        scores.to_csv(file.with_suffix(".part"), index=False)
    file.with_suffix(".part").rename(file)


if __name__ == "__main__":
    main()
