"""Drawn images, a real segmenter's answers about them, and a finished method of every kind."""

from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from vesselrl.evaluation.parameters import EvaluationParameters
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.imaging import normalised
from vesselrl.pipelines.pixel_rl import nodes as pixel_nodes
from vesselrl.pipelines.segmenter import nodes as segmenter_nodes
from vesselrl.prediction.recipe import Stock
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Observer
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.policy import Policy
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.candidates import make_candidates
from vesselrl.segmenters.parameters import FilterParameters
from vesselrl.segmenters.unet.network import SegmentationNetwork

SIZE = 64
SPLITS = ["train"] * 6 + ["val"] * 4 + ["test"] * 3
FOLDS = ("fold_0", "fold_1")


def draw(number):
    """A bright image with a dark, curved vessel, and its truth."""
    rng = np.random.default_rng(number)
    rows = np.arange(SIZE)
    middle = 20 + 24 * rng.random() + 8 * np.sin(rows / 9 + number)
    mask = np.abs(np.arange(SIZE) - middle[:, None]) < 2.5
    image = 160 - 60 * ndimage.gaussian_filter(mask.astype(float), 1) + rng.normal(0, 6, mask.shape)
    return image.clip(0, 255).astype(np.uint8), mask


def policy(actions, chooses, length, seed, joint=False):
    """A policy that nobody trained: its choices depend on the image, and on the mask so far."""
    rng = np.random.default_rng(seed)
    rules = Rules(actions, chooses, length)
    mean, scale = rng.random(16, np.float32), np.full(16, 0.1, np.float32)
    observer = Observer(mean, scale, length)
    options = int(np.prod(rules.choices)) if joint else sum(rules.choices)
    weights = {
        "mean": mean, "scale": scale,
        "layer.0.weight": rng.normal(0, 1, (options, observer.size)).astype(np.float32),
        "layer.0.bias": np.zeros(options, np.float32),
    }  # fmt: skip
    return Policy(rules, observer, weights, joint)


def lively(architecture, seed):
    """A network as it is drawn, but for its answers: they go from no to yes within an image."""
    module = architecture.build(seed).eval()
    shown = torch.from_numpy(draw(0)[0] / 255).float()[None]
    seen = torch.stack([normalised(shown)] * architecture.channels, 1)
    last = module[1].final_conv
    with torch.inference_mode():
        said = module(seen)
        last.weight *= 2 / said.std()
        last.bias.copy_((last.bias - said.mean()) * 2 / said.std())
    return module


def network(seed):
    architecture = Architecture(1, (4, 4, 8, 8, 8, 4), downscale=1)
    return SegmentationNetwork(lively(architecture, seed), architecture, SIZE).state()


def judge(seed):
    architecture = Architecture(2, (4, 4, 8, 8, 8, 4), downscale=1)
    members = [lively(architecture, seed + member) for member in range(2)]
    return RewardNetwork(members, architecture, 48, Scoring("lower_bound", 0.5)).state()


class World:
    """Everything that the stages before prediction leave behind, small and untrained."""

    objective = ("dice", "recall")
    actions = ActionParameters(
        thresholds=[0.3, 0.5],
        operations={"dilate": {"kind": "dilate"}, "small": {"kind": "remove_small", "size": 30}},
    )
    segmenter = FilterParameters(
        kind="ridge",
        default_prompt="thick",
        max_side=SIZE,
        prompts={
            name: {"scales": scales, "fraction": fraction, "min_size": 0}
            for name, scales, fraction in (
                ("thin", [1], 0.1),
                ("thick", [3], 0.2),
                ("all", [2], 0.15),
            )
        },
    )
    evaluation = EvaluationParameters(
        methods={
            **{k: {"kind": k} for k in ("default", "static", "best_of_one", "best_of_n")},
            "posterior": {"kind": "posterior"},
            "prompt_rl": {"kind": "policy", "experiment": "prompt_rl"},
            "postprocess_rl": {"kind": "policy", "experiment": "postprocess_rl"},
            "reward_rl": {"kind": "policy", "experiment": "reward_rl"},
            "regressor": {"kind": "regressor", "experiment": "regressor"},
            "given": {"kind": "policy", "path": "final_model.zip"},
            **{
                name: {"kind": "network", "network": name}
                for name in (
                    "supervised", "supervised_tta", "fold_ensemble", "fold_ensemble_tta",
                    "distilled", "pixel_rl", "refine",
                )
            },
            "random": {"kind": "random"},
            "oracle": {"kind": "oracle"},
            "imported": {"kind": "imported", "path": "masks"},
        }
    )  # fmt: skip
    static_setting: ClassVar = {"index": 7}  # of the prompt ‘thick’, dilated at 0.3
    thresholds: ClassVar = {"supervised": 0.4} | dict.fromkeys(
        ("supervised_tta", "fold_ensemble", "fold_ensemble_tta", "distilled", "pixel_rl", "refine"),
        0.5,
    )

    def __init__(self):
        ids = [f"{split}{number}" for number, split in enumerate(SPLITS)]
        groups = [f"g{number // 2}" if s == "train" else f"g{s}{number}"
                  for number, s in enumerate(SPLITS)]  # fmt: skip
        self.samples = pd.DataFrame({"id": ids, "group": groups, "split": SPLITS})
        self.drawn = {sample: draw(number) for number, sample in enumerate(ids)}
        segmenter, prompts = build_segmenter(self.segmenter), list(self.segmenter.prompts)
        self.made = {
            sample: make_candidates(sample, image, segmenter, prompts)
            for sample, (image, _) in self.drawn.items()
        }
        action_set = ActionSet.of(prompts, self.segmenter.default_prompt, self.actions)
        self.policies = {
            "prompt_rl": {n: policy(action_set, "prompts", 3, n) for n in (1, 2)},
            "postprocess_rl": {1: policy(action_set, "operations", 3, 2)},
            "reward_rl": {1: policy(action_set, "setting", 1, 3)},
            "regressor": {1: policy(action_set, "setting", 1, 4, joint=True)},
        }
        self.finished = {"given": policy(action_set, "setting", 1, 5)}
        names = ("supervised", *FOLDS, "distilled", "pseudo_labelled")
        networks = {name: network(seed) for seed, name in enumerate(names)}
        self.trained = {
            "segmenter": segmenter_nodes.keep_networks(networks),
            "pixel_rl": pixel_nodes.keep_networks(
                {1: network(9), 2: network(10)}, networks, judge(30)
            ),
        }
        self.reward_network = judge(20)

    @property
    def stock(self):
        return Stock(
            self.segmenter, self.actions, list(self.objective), self.static_setting["index"],
            self.thresholds, self.policies, self.finished, self.trained, self.reward_network,
        )  # fmt: skip

    @property
    def images(self):
        return {sample: partial(lambda d: d[0], d) for sample, d in self.drawn.items()}

    @property
    def masks(self):
        return {sample: partial(lambda d: d[1], d) for sample, d in self.drawn.items()}

    @property
    def candidates(self):
        return {sample: partial(lambda m: m, m) for sample, m in self.made.items()}

    def of_split(self, split):
        return [str(s) for s in self.samples.loc[self.samples["split"] == split, "id"]]
