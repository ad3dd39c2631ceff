"""The numbers of the report, recomputed from scores per image by plain arithmetic."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricated_report import HOSTILE, METHODS, NETWORK, POLICY, Outputs


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
        assert float(row["all else"].replace("−", "-")) == pytest.approx(rest, rel=0.06)
    weights = sum(w.size for name, w in POLICY.weights.items() if name.startswith("layer."))
    judge = sum(p.numel() for member in NETWORK.members for p in member.parameters())
    parameters = having["Trained parameters"]
    assert parameters[["default", "prompt_rl", "best_of_n"]].tolist() == [
        "0", f"{weights:,}", f"{judge:,}",
    ]  # fmt: skip
    assert having.loc["prompt_rl", "Training [min]"] == cost(81.5 / 60)
    assert having.loc["posterior", "Training [min]"] == "0"
    judges = having["Reward network's training [min]"]
    assert judges[["posterior", "postprocess_rl", "prompt_rl", "static"]].tolist() == [
        "5.5", "5.5", "0", "0",
    ]  # fmt: skip
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
