"""Fabricated results, and what the pipeline ``report`` makes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from skimage.draw import line
from skimage.morphology import dilation, disk

from vesselrl.datasets.figure import FigureDataset
from vesselrl.datasets.text import HtmlDataset, TextDataset
from vesselrl.evaluation.parameters import EvaluationParameters
from vesselrl.networks.architecture import Architecture
from vesselrl.pipelines.report import create_pipeline
from vesselrl.report.parameters import ReportParameters
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Observer
from vesselrl.rl.parameters import REGRESSORS
from vesselrl.rl.policy import Policy
from vesselrl.segmenters.parameters import FilterParameters

SIZE, IMAGES, GROUPS = 96, 24, 12
METHODS: dict[str, dict[str, Any]] = {
    "default": {"kind": "default"},
    "static": {"kind": "static"},
    "random": {"kind": "random"},
    "best_of_n": {"kind": "best_of_n"},
    "posterior": {"kind": "posterior"},
    "prompt_rl": {"kind": "policy", "experiment": "prompt_rl"},
    "postprocess_rl": {"kind": "policy", "experiment": "postprocess_rl"},
    "oracle": {"kind": "oracle"},
}
EXPERIMENTS = {
    "prompt_rl": {"chooses": "prompts", "episode_length": 3, "reward": "ground_truth"},
    "postprocess_rl": {"chooses": "operations", "episode_length": 5, "reward": "reward_network"},
}
# Mean gain in Dice over the default, spread of the gain over images, segmenter calls, seconds.
EFFECTS = {
    "default": (0.0, 0.0, 1, 0.021),
    "static": (0.03, 0.01, 1, 0.022),
    "random": (-0.09, 0.08, 1, 0.022),
    "best_of_n": (0.035, 0.02, 11, 0.24),
    "posterior": (0.02, 0.04, 1, 0.06),
    "prompt_rl": (0.031, 0.02, 1, 0.023),
    "postprocess_rl": (0.01, 0.03, 1, 0.03),
    "oracle": (0.08, 0.02, 11, 0.25),
}
RECIPE_CHECK = {
    "method": "static", "coverage": 0.9, "validation_groups": 5, "groups_needed": 9, "images": 12,
    "groups": 6, "covered": 0.917, "width": 0.1874, "mean_error": 0.0312, "spearman": 0.456,
    "worst_found": 0.5,
}  # fmt: skip
REWARD_FIGURES = ("reward_net_figure", "reward_error_maps_figure", "reward_hacks_figure")
PIXEL_FIGURES = ("pixel_rl.training_figure", "pixel_rl_dice_figure", "pixel_rl_gallery_figure")
REWARD_SCORES = {
    "pooled_r": 0.86, "across_image_r": 0.71, "within_image_tau": 0.62, "top1_regret": 0.019,
    "mae": 0.041, "mae_raw": 0.08, "n_images": 20,
}  # fmt: skip
PROMPT = {"scales": [1.0], "fraction": 0.1, "min_size": 0}
SEGMENTER = FilterParameters(
    kind="ridge", default_prompt="thin", max_side=96, prompts={"thin": PROMPT, "main": PROMPT}
)
ACTIONS = ActionSet(("thin", "main"), 0, (0.5,), {})
POLICY = Policy(
    Rules(ACTIONS, "prompts", 3),
    Observer(np.zeros(2, np.float32), np.ones(2, np.float32), 3, "handmade"),
    {"layer.0.weight": np.zeros((2, 10), np.float32), "layer.0.bias": np.zeros(2, np.float32)},
)
ARCHITECTURE = Architecture(2, (4,) * 6, 1)
NETWORK = RewardNetwork([ARCHITECTURE.build()], ARCHITECTURE, SIZE, Scoring("min", kappa=0))
HOSTILE = "<img src=x onerror=alert(1)>|*$x_1$.png"


def vessel_tree(random: np.random.Generator) -> np.ndarray:
    """A few branching strokes, bool (SIZE, SIZE)."""
    mask = np.zeros((SIZE, SIZE), bool)
    ends = [(8, SIZE // 2)]
    for _ in range(7):
        start = ends[random.integers(len(ends))]
        end = np.clip(np.add(start, random.integers((6, -26), (34, 26))), 4, SIZE - 5)
        mask[line(*start, *end)] = True
        ends.append(tuple(int(v) for v in end))
    return dilation(mask, disk(1)).astype(bool)


def fabricate() -> dict[str, Any]:
    """Every input of the pipeline, as the other pipelines would leave it."""
    random = np.random.default_rng(0)
    ids = [f"a{number:02d}" for number in range(IMAGES - 1)] + [HOSTILE.removesuffix(".png")]
    group = {image: f"case{number % GROUPS:02d}" for number, image in enumerate(ids)}
    masks = {image: vessel_tree(random) for image in ids}
    images = {
        image: np.clip(
            150 + random.normal(0, 8, mask.shape) - 55 * mask + np.linspace(-30, 30, SIZE), 0, 255
        ).astype(np.uint8)
        for image, mask in masks.items()
    }
    predictions, rows, chosen = {}, [], []
    difficulty = {image: random.normal(0, 0.05) for image in ids}
    patient = {name: random.normal(0, 0.03) for name in sorted(set(group.values()))}
    for method, (gain, spread, calls, seconds) in EFFECTS.items():
        for seed in (1, 2) if method == "prompt_rl" else (1,):
            for image in ids:
                dice = (
                    0.78 + difficulty[image] + patient[group[image]] + random.normal(gain, spread)
                )
                dice = float(np.clip(dice, 0, 1))
                recall = float(np.clip(dice + random.normal(0.02, 0.02), 0, 1))
                key = (
                    f"{method}/masks/{image}"
                    if seed == 1
                    else f"{method}/seeds/{seed}/masks/{image}"
                )
                noise = random.random(masks[image].shape)
                predictions[key] = (masks[image] & (noise < recall)) | (noise > 0.99)
                rows.append(
                    (method, seed, image, group[image], "test", dice, dice / (2 - dice), recall,
                     min(dice + 0.01, 1), dice - 0.02, 5 + random.random(), calls,
                     seconds + seed / 1000, 2.0, recall - 0.1, recall, 0.3)
                )  # fmt: skip
                prompt = (
                    "whole tree"
                    if method == "postprocess_rl"
                    else str(random.choice(["thin", "main"]))
                )
                did = (prompt, 0.5, "close, remove small", calls, seconds + seed / 1000)
                chosen.append((method, seed, image, *did))
    columns = [
        "method", "seed", "image", "group", "split", "dice", "iou", "recall", "precision", "cldice",
        "hd95", "segmenter_calls", "seconds", "components_error", "thin_recall", "thick_recall",
        "thin_share",
    ]  # fmt: skip
    samples = pd.DataFrame(
        {
            "id": ids, "file": [f"{i}.png" for i in ids], "width": SIZE, "height": SIZE,
            "group": [group[i] for i in ids], "split": "test", "sha256": "0" * 64,
            "vessel_fraction": [masks[i].mean() for i in ids], "text": "",
        }
    )  # fmt: skip
    more = samples.head(20).assign(split="train", group=lambda t: "t" + t["group"])
    return {
        "samples": pd.concat([samples, more, more.head(6).assign(split="val", group="v")]),
        "ingest_overview": b"PNG",
        "ingest_report": {"warnings": ["b.png and c.png look alike and are in different splits."]},
        "quarantine": pd.DataFrame(
            [(3, HOSTILE, "mask", "<script>alert(2)</script>", "Draw it again.")],
            columns=["entry", "file", "field", "reason", "hint"],
        ),
        "segment_failures": pd.DataFrame({"id": ["a03"], "error": ["out of memory"]}),
        "images": {k: lambda v=v: v for k, v in images.items()},
        "masks": {k: lambda v=v: v for k, v in masks.items()},
        "predictions": {k: lambda v=v: v for k, v in predictions.items()},
        "metrics_per_image": pd.DataFrame(rows, columns=columns),
        "choices": pd.DataFrame(
            chosen,
            columns=[
                "method", "seed", "image", "prompt", "threshold", "operations", "segmenter_calls",
                "seconds",
            ],
        ),
        "methods_not_run": [
            {"method": "reward_rl", "command": "kedro run --pipeline rl_finetune"}
        ],
        **dict.fromkeys(REWARD_FIGURES, b"PNG"),
        "recipe_check": RECIPE_CHECK,
        "reward_net_report": {
            **dict.fromkeys(("val", "test", "unseen"), REWARD_SCORES),
            "rivals": {"entropy": {"val": REWARD_SCORES, "test": REWARD_SCORES}},
            "hacks": {
                "val": [
                    {
                        "hack": "empty", "predicted_difference": -0.5, "true_difference": -0.6,
                        "share": 1.0, "images": 20, "right": True, "dice_share": 1.0,
                    }
                ]
            },
            "fit": True,
            "reason": "It orders the masks of one image (τ 0.62) well enough.",
        },
        "candidates": {
            image: lambda m=mask: {"levels": np.stack([200 * m, 90 + 100 * m]).astype(np.uint8)}
            for image, mask in masks.items()
        },
        "static_setting": {"prompt": "main"},
        "segment_timing": pd.DataFrame({"id": ids, "seconds": 0.22, "calls": 11}),
        "action_scores": {
            image: lambda: {"opinion_seconds": np.array(0.01), "judging_seconds": np.array(0.004)}
            for image in ids
        },
        "reward_network": NETWORK.state(),
        "reward_history": pd.DataFrame({"member": [0, 1, 1], "seconds": [300.0, 150.0, 330.0]}),
        **{f"{name}.policies": {} for name in ("reward_rl", *REGRESSORS)},
        **{f"{name}.training_infos": {} for name in REGRESSORS},
        "prompt_rl.policies": {1: POLICY, 2: POLICY},
        "postprocess_rl.policies": {1: POLICY},
        "prompt_rl.histories": {seed: history(seed, hacked=seed == 2) for seed in (1, 2)},
        "prompt_rl.training_infos": {
            seed: {
                "seconds": 81.5, "steps_per_second": 25.1, "collapsed": False, "kept_step": 1024,
                "overoptimised": seed == 2, "gold_best": 0.77, "gold_last": 0.74,
                "proxy_at_best": 0.80, "proxy_last": 0.83,
            }
            for seed in (1, 2)
        },
        "postprocess_rl.histories": {1: history(1, hacked=False)},
        "postprocess_rl.training_infos": {1: {"seconds": 60.0, "collapsed": True}},
        "segmenter.network_facts": {},
        "pixel_rl.network_facts": {},
        "sa2va_rl.network_facts": {},
        "pixel_rl.training_infos": {},
        **dict.fromkeys(PIXEL_FIGURES, b""),
        "reward_rl.histories": {},
        "reward_rl.training_infos": {},
    }  # fmt: skip


def history(seed: int, hacked: bool) -> pd.DataFrame:
    steps = np.arange(128, 2049, 128)
    progress = 1 - np.exp(-steps / 600)
    fall = np.clip(steps - 1000, 0, None) * 5e-5 if hacked else 0 * steps
    return pd.DataFrame(
        {
            "seed": seed, "steps": steps, "ep_rew_mean": 0.2 + 0.1 * progress + 0.01 * seed,
            "reward_net_score": 0.78 + 0.05 * progress, "gt_dice": 0.75 + 0.04 * progress - fall,
            "proxy": 0.78 + 0.05 * progress, "gold": 0.75 + 0.04 * progress - fall,
            "val_gold": np.where(steps % 256 == 0, 0.74 + 0.04 * progress - fall, np.nan),
            "val_dice": np.where(steps % 256 == 0, 0.74 + 0.04 * progress - fall, np.nan),
            "action_entropy": 2.4 - 1.2 * progress,
        }
    )  # fmt: skip


class Outputs:
    """What a run of the pipeline leaves."""

    def __init__(self, inputs: dict[str, Any], folder: Path, language: Any = "en") -> None:
        settings = ReportParameters(bootstrap_resamples=500, language=language)
        parameters = {
            "params:evaluation": EvaluationParameters.model_validate({"methods": METHODS}),
            "params:report": settings,
            "params:segmenter": SEGMENTER,
            "params:seed": 7,
            "parameters": {
                "seed": 7,
                "report": settings,
                "note": HOSTILE,
                "experiments": EXPERIMENTS,
                "regressors": {},
                "rl": {"observations": "handmade"},
                "segmenter": SEGMENTER,
                "actions": {"thresholds": [0.5]},
                "reward": {"training": {"members": 1}},
            },
        }
        figures = ("leaderboard", "paired", "curves", "thresholds", "gallery", "cost")
        catalog = DataCatalog(
            {
                **{k: MemoryDataset(v, "assign") for k, v in (inputs | parameters).items()},
                **{f"{n}_figure": FigureDataset(filepath=f"{folder}/{n}.png") for n in figures},
                "leaderboard": CSVDataset(
                    filepath=f"{folder}/leaderboard.csv", save_args={"index": False}
                ),
                "verdict": JSONDataset(filepath=f"{folder}/verdict.json"),
                "final_report_html": HtmlDataset(filepath=f"{folder}/final_report.html"),
                "final_report_md": TextDataset(filepath=f"{folder}/final_report.md"),
            }
        )
        SequentialRunner().run(create_pipeline(), catalog)
        self.leaderboard: pd.DataFrame = catalog.load("leaderboard").set_index("method")
        self.verdict: dict[str, Any] = catalog.load("verdict")
        self.html: str = catalog.load("final_report_html")
        self.markdown: str = catalog.load("final_report_md")
