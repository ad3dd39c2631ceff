"""The pipeline ``report`` on fabricated results, from scores per image to the rendered page."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from skimage.draw import line
from skimage.morphology import dilation, disk

from vesselrl.datasets.figure import FigureDataset
from vesselrl.datasets.text import HtmlDataset, TextDataset
from vesselrl.pipelines.report import create_pipeline
from vesselrl.report.background import data
from vesselrl.report.parameters import ReportParameters
from vesselrl.reward.network import Architecture, RewardNetwork
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import Observer
from vesselrl.rl.parameters import REGRESSORS
from vesselrl.rl.policy import Policy
from vesselrl.segmenters.parameters import SegmenterParameters

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
REWARD_FIGURES = ("reward_net_figure", "reward_error_maps_figure", "reward_hacks_figure")
REWARD_SCORES = {
    "pooled_r": 0.86, "across_image_r": 0.71, "within_image_tau": 0.62, "top1_regret": 0.019,
    "mae": 0.041, "mae_raw": 0.08, "n_images": 20,
}  # fmt: skip
PROMPT = {"scales": [1.0], "fraction": 0.1, "min_size": 0}
SEGMENTER = SegmenterParameters(
    kind="ridge", default_prompt="thin", max_side=96, prompts={"thin": PROMPT, "main": PROMPT}
)
ACTIONS = ActionSet(("thin", "main"), 0, (0.5,), {})
POLICY = Policy(
    Rules(ACTIONS, "prompts", 3),
    Observer(np.zeros(2, np.float32), np.ones(2, np.float32), 3, "handmade"),
    {"layer.0.weight": np.zeros((2, 10), np.float32), "layer.0.bias": np.zeros(2, np.float32)},
)
ARCHITECTURE = Architecture((4,) * 6, 1)
NETWORK = RewardNetwork([ARCHITECTURE.build()], ARCHITECTURE, SIZE, "min", kappa=0)
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
            "params:evaluation": {"methods": METHODS},
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


class Page(HTMLParser):
    """The tags, links and visible words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    return fabricate()


@pytest.fixture(scope="module")
def outputs(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs(inputs, tmp_path_factory.mktemp("report"))


def tables_of(markdown: str, title: str) -> list[pd.DataFrame]:
    """The tables below a heading of the Markdown report, by method, without the stars."""
    below = markdown.replace("\\", "").split(f"## {title}\n")[1].split("\n## ")[0]
    tables = []
    for lines in re.findall(r"(?:^\|.*\|\n)+", below, re.MULTILINE):
        rows = [text.strip("| ").split(" | ") for text in lines.splitlines() if "| ---" not in text]
        if len({len(row) for row in rows}) == 1:  # without what the data's names break
            table = pd.DataFrame(rows[1:], columns=rows[0]).set_index(rows[0][0])
            tables.append(table.rename(lambda name: name.removesuffix(" *")))
    return tables


def points(value: float, signed: bool = True) -> str:
    text = f"{100 * value:{'+' if signed else ''}.1f}"
    return text.replace("-0.0", "0.0").replace("-", "−")


def means_of(table: pd.DataFrame, column: str) -> pd.Series:
    """Means over seeds, then images, by plain arithmetic."""
    return pd.Series(
        {
            method: np.mean([part[column].mean() for _, part in rows.groupby("image")])
            for method, rows in table.groupby("method")
        }
    )


def test_every_score_of_the_leaderboards_comes_from_the_scores_per_image(
    inputs: dict[str, Any], outputs: Outputs
) -> None:
    metrics = inputs["metrics_per_image"]
    shown = pd.concat(
        [tables_of(outputs.markdown, "Summary")[0], *tables_of(outputs.markdown, "Leaderboard")],
        axis="columns",
    )
    assert set(shown.index) == set(METHODS)
    columns = {
        "Precision": ("precision", 3), "IoU": ("iou", 3), "clDice": ("cldice", 3),
        "HD95 [px]": ("hd95", 1), "Recall, thin vessels": ("thin_recall", 3),
        "Recall, thick vessels": ("thick_recall", 3), "Regions too many or too few":
        ("components_error", 1), "Dice": ("dice", 3), "Recall": ("recall", 3),
    }  # fmt: skip
    for heading, (column, digits) in columns.items():
        for method, mean in means_of(metrics, column).items():
            assert shown.loc[method, heading] == f"{mean:.{digits}f}", (heading, method)
    dice, recall = means_of(metrics, "dice"), means_of(metrics, "recall")
    for method in METHODS:
        objective = f"{(dice[method] + recall[method]) / 2:.3f}"
        assert set(shown.loc[method, "Objective"]) == {objective}
        assert shown.loc[method, "Dice (CI)"].startswith(f"{dice[method]:.3f} (")
        assert shown.loc[method, "Recall (CI)"].startswith(f"{recall[method]:.3f} (")
    of_seeds = metrics[metrics["method"] == "prompt_rl"].groupby("seed")["dice"].mean()
    assert shown.loc["prompt_rl", "SD over seeds"] == f"{np.std(of_seeds, ddof=1):.3f}"
    assert shown.loc["static", "SD over seeds"] == "–"


def test_every_difference_is_that_of_the_scores_per_image(
    inputs: dict[str, Any], outputs: Outputs
) -> None:
    metrics = inputs["metrics_per_image"]
    metrics = metrics.assign(objective=(metrics["dice"] + metrics["recall"]) / 2)
    against_baseline, against_best = tables_of(outputs.markdown, "Image by image")
    dice = metrics.pivot_table("dice", "image", "method")
    for method in set(METHODS) - {"default"}:
        gap, row = dice[method] - dice["default"], against_baseline.loc[method]
        assert row["Difference [points]"] == points(gap.mean())
        counts = [(gap > 0.001).sum(), (gap.abs() <= 0.001).sum(), (gap < -0.001).sum()]
        assert [int(row[name]) for name in ("Wins", "Ties", "Losses")] == counts
    objective = metrics.pivot_table("objective", "image", "method").mean()
    best = objective.drop(["oracle", "random"]).idxmax()
    assert set(against_best.index) == set(METHODS) - {"oracle", "random", best}
    for method, row in against_best.iterrows():
        gap = objective[best] - objective[method]
        assert row["Behind the best by [points]"] == points(gap, signed=False)
    summary = tables_of(outputs.markdown, "Summary")[0]
    for method in set(METHODS) - {"default"}:
        shown = summary.loc[method, "Dice against ‘default’"]
        assert shown.startswith(points((dice[method] - dice["default"]).mean()) + " (")


def test_every_cost_is_measured_or_counted(inputs: dict[str, Any], outputs: Outputs) -> None:
    running, having = tables_of(outputs.markdown, "Quality and cost")
    calls = means_of(inputs["metrics_per_image"], "segmenter_calls")
    milliseconds = 1000 * means_of(inputs["metrics_per_image"], "seconds")

    def cost(value: float) -> str:
        return f"{value:.2g}" if value < 100 else f"{value:,.0f}"

    network = {"best_of_n": 14.0, "posterior": 10.0}
    for method in METHODS:
        row = running.loc[method]
        segmenter = 1000 * 0.22 * calls[method] / 11
        rest = milliseconds[method] - segmenter - network.get(method, 0)
        assert row["Segmenter calls an image"] == cost(calls[method])
        assert row["Milliseconds an image"] == cost(milliseconds[method])
        assert row["of these: segmenter"] == cost(segmenter)
        assert row["reward network"] == cost(network.get(method, 0))
        assert float(row["policy and clean-up"].replace("−", "-")) == pytest.approx(rest, rel=0.06)
    weights = sum(w.size for name, w in POLICY.weights.items() if name.startswith("layer."))
    judge = sum(p.numel() for member in NETWORK.members for p in member.parameters())
    parameters = having["Trained parameters"]
    assert parameters[["default", "prompt_rl", "best_of_n"]].tolist() == [
        "0", f"{weights:,}", f"{judge:,}",
    ]  # fmt: skip
    assert having.loc["prompt_rl", "Training [min]"] == cost(81.5 / 60)
    assert having.loc["posterior", "Training [min]"] == "–"
    assert having["Reward network"].value_counts().to_dict() == {
        "not needed": 5, "in use": 2, "for training": 1,
    }  # fmt: skip
    assert having.loc["postprocess_rl", "Reward network"] == "for training"


def test_worst_images_are_those_of_the_recommended_method(
    inputs: dict[str, Any], outputs: Outputs
) -> None:
    metrics = inputs["metrics_per_image"]
    dice = metrics.pivot_table("dice", "image", "method")
    own = dice[outputs.verdict["recommended"]].nsmallest(5)
    usable = dice.drop(columns=["oracle", "random"])
    section = outputs.markdown.split("## Failures")[1]
    for image, value in own.drop(HOSTILE.removesuffix(".png"), errors="ignore").items():
        best = usable.loc[image]
        line = next(x for x in section.splitlines() if x.startswith(f"| {image}"))
        assert f"| {value:.3f} |" in line
        assert f"{best.max():.3f} ({best.idxmax()})" in line.replace("\\", "")
    assert "1 annotation refused; see ‘Data and splits’." in section


def test_page_and_markdown_show_the_same_numbers(outputs: Outputs) -> None:
    page = Page(outputs.html).text
    numbers = set(re.findall(r"\d\.\d{3} \(\d\.\d{3}–\d\.\d{3}\)", outputs.markdown))
    assert len(numbers) >= len(METHODS)
    assert all(number in page for number in numbers)


def test_verdict_opens_the_report(outputs: Outputs) -> None:
    for text in (Page(outputs.html).text, outputs.markdown.replace("\\", "")):
        assert outputs.verdict["sentence"] in text
        assert outputs.verdict["rule"] in text
        assert text.index(outputs.verdict["sentence"]) < text.index("annotated images")


def test_best_score_of_a_method_not_for_use_is_not_recommended(outputs: Outputs) -> None:
    assert outputs.leaderboard.index[0] == "oracle"
    assert outputs.verdict["best"] != "oracle"
    assert outputs.verdict["recommended"] not in ("oracle", "random")
    assert "oracle" not in outputs.verdict["not_worse"]


def test_no_gain_from_reinforcement_learning_is_said_plainly(outputs: Outputs) -> None:
    assert not outputs.verdict["reinforcement_learning"]["gain"]
    assert "No gain from reinforcement learning" in Page(outputs.html).text


def test_unmet_targets_are_called_not_met(outputs: Outputs) -> None:
    assert [t["status"] for t in outputs.verdict["targets"]] == ["not met", "not met"]
    assert "target 0.85 not met" in Page(outputs.html).text


def test_number_of_groups_and_smallest_effect_are_told(outputs: Outputs) -> None:
    effect = 100 * outputs.verdict["smallest_effect"]
    assert f"{IMAGES} images of {GROUPS} groups" in Page(outputs.html).text
    assert f"{effect:.1f} points worse than the best would" in Page(outputs.html).text


def test_names_from_the_data_stay_text(outputs: Outputs) -> None:
    page = Page(outputs.html)
    assert HOSTILE in page.text
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(v.startswith("data:image/png") for name, v in page.attributes if name == "src" and v)
    assert "<script" not in outputs.markdown
    assert not re.search(r"^[^ ].*<img", outputs.markdown, re.MULTILINE)


def test_page_needs_no_network(outputs: Outputs) -> None:
    page = Page(outputs.html)
    assert all(v.startswith("#") for name, v in page.attributes if name == "href" and v)
    assert "default-src 'none'" in outputs.html
    assert not re.search(r"url\(|@import|https?://", outputs.html)


def test_collapsed_policies_and_hacked_rewards_are_named(outputs: Outputs) -> None:
    text = Page(outputs.html).text
    assert "policy of postprocess_rl (seed 1) collapsed" in text
    assert "prompt_rl, seed 2: the policy learned to please the reward network" in text
    assert "from step 1,024 to the end of training, the proxy rose from 0.800 to 0.830" in text
    assert "prompt_rl, seed 1: the policy" not in text


def test_refused_entries_failures_and_methods_not_run_are_listed(outputs: Outputs) -> None:
    text = Page(outputs.html).text
    for words in (
        "<script>alert(2)</script>", "Draw it again.", "out of memory", "look alike",
        "kedro run --pipeline rl_finetune",
    ):  # fmt: skip
        assert words in text


def test_group_in_two_splits_is_a_warning(outputs: Outputs, inputs: dict[str, Any]) -> None:
    assert "No group is shared between splits." in Page(outputs.html).text
    leaking = inputs["samples"].assign(group="case00")
    callouts = [
        b.text
        for b in data(leaking, {}, inputs["quarantine"], inputs["ingest_overview"]).blocks
        if b.kind == "callout"
    ]
    assert callouts[0].startswith("1 group (case00) in more than one split")


def test_report_without_any_experiment_says_so(inputs: dict[str, Any], tmp_path: Path) -> None:
    none = {name: {} for name in inputs if name.endswith((".histories", ".training_infos"))}
    few = inputs["metrics_per_image"].query("method in ['default', 'static']")
    outputs = Outputs(inputs | none | {"metrics_per_image": few, "reward_net_report": {}}, tmp_path)
    text = Page(outputs.html).text
    assert "No reinforcement-learning experiment was run" in text
    assert "There is no report card of the reward network." in text
    assert outputs.verdict["reinforcement_learning"] is None
    assert outputs.verdict["recommended"] == "static"


def test_same_results_give_the_same_report(
    inputs: dict[str, Any], outputs: Outputs, tmp_path: Path
) -> None:
    assert Outputs(inputs, tmp_path).html == outputs.html


def test_the_chinese_report_says_the_same_in_chinese(
    inputs: dict[str, Any], outputs: Outputs, tmp_path: Path
) -> None:
    chinese = Outputs(inputs, tmp_path, "zh")
    assert '<html lang="zh-Hans">' in chinese.html
    assert chinese.verdict == outputs.verdict
    text = html.unescape(chinese.markdown.replace("\\", ""))
    quotes = (
        HOSTILE.removesuffix(".png"), "b.png and c.png look alike and are in different splits.",
        "<script>alert(2)</script>", "Draw it again.", "out of memory", "whole tree", "mask",
        "close, remove small", "It orders the masks of one image", "well enough.",
        "kedro run --pipeline rl_finetune", "reward_rl", *METHODS, "main", "thin",
    )  # fmt: skip
    for quoted in sorted(quotes, key=len, reverse=True):
        text = text.replace(quoted, "")
    # Code, package versions, names of files and of groups stay as they are too.
    text = re.sub(r"^    .*|^\| [\w-]+ \| \d\S+ \|$|\S*\.[a-z]\w+|case\d+", "", text, flags=re.M)
    allowed = {"Dice", "CI", "IoU", "clDice", "HD", "Kendall", "Holm", "Betti", "YAML", "Bloom"}
    assert set(re.findall(r"[A-Za-z]{2,}", text)) - allowed == set()
    numbers = re.compile(r"\d+\.\d{3}")
    assert sorted(numbers.findall(chinese.markdown)) == sorted(numbers.findall(outputs.markdown))
