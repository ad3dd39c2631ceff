"""The pipeline ``report`` on fabricated results, from scores per image to the rendered page."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricated_report import GROUPS, HOSTILE, IMAGES, METHODS, Outputs

from vesselrl.report.background import data
from vesselrl.samples import group_hashes
from vesselrl.segmenters.parameters import FilterParameters


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


def test_page_and_markdown_show_the_same_numbers(outputs: Outputs) -> None:
    page = Page(outputs.html).text
    numbers = set(re.findall(r"\d\.\d{3} \(\d\.\d{3}–\d\.\d{3}\)", outputs.markdown))
    assert len(numbers) >= len(METHODS)
    assert all(number in page for number in numbers)


def test_verdict_opens_the_report(outputs: Outputs) -> None:
    for text in (Page(outputs.html).text, outputs.markdown.replace("\\", "")):
        assert outputs.verdict["sentence"] in text
        assert outputs.verdict["rule"] in text
        assert text.index(outputs.verdict["sentence"]) < text.index("The images come from")


def test_best_score_of_a_method_not_for_use_is_not_recommended(outputs: Outputs) -> None:
    assert outputs.leaderboard.index[0] == "oracle"
    assert outputs.verdict["best"] != "oracle"
    assert outputs.verdict["recommended"] not in ("oracle", "random")
    assert "oracle" not in outputs.verdict["not_worse"]


def test_no_gain_from_reinforcement_learning_is_said_plainly(outputs: Outputs) -> None:
    assert not outputs.verdict["reinforcement_learning"]["gain"]
    assert "No gain from reinforcement learning is shown" in Page(outputs.html).text


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


def test_the_summary_tells_that_there_are_warnings_on_the_data(outputs: Outputs) -> None:
    summary = Page(outputs.html).text.split("What this test can show")[0]
    assert "1 warning on the data; see ‘Data and splits’." in summary


def test_group_in_two_splits_is_a_warning(outputs: Outputs, inputs: dict[str, Any]) -> None:
    assert "No group is shared between splits." in Page(outputs.html).text
    leaking = inputs["samples"].assign(group="case00")
    callouts = [
        b.text
        for b in data(leaking, {}, inputs["quarantine"], inputs["ingest_overview"], 0).blocks
        if b.kind == "callout"
    ]
    assert callouts[0].startswith("1 group (case00) in more than one split")


def test_a_segmenter_that_learned_from_test_patients_is_a_warning(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = inputs["samples"]
    known = samples[samples["group"] == samples.loc[samples["split"] == "test", "group"].iloc[0]]
    monkeypatch.setattr(
        FilterParameters, "learned_from", lambda _: group_hashes(known, [*known["id"]])
    )
    few = inputs["metrics_per_image"].query("method in ['default', 'static']")
    text = Page(Outputs(inputs | {"metrics_per_image": few}, tmp_path).html).text
    assert "2 warnings on the data" in text
    assert "The segmenter learned from 1 group of validation or test" in text


def test_images_without_labels_are_counted_and_are_no_leak(inputs: dict[str, Any]) -> None:
    samples = inputs["samples"]
    more = samples.head(7).assign(split="unlabelled", vessel_fraction=np.nan, group="new")
    more.iloc[:3, more.columns.get_loc("group")] = samples["group"].iloc[0]
    section = data(pd.concat([samples, more]), {}, inputs["quarantine"], b"PNG", 0)
    table = next(block for block in section.blocks if block.kind == "table")
    assert table.rows[-1] == ("unlabelled", "7", "2", "–")
    text = " ".join(block.text for block in section.blocks if block.kind == "paragraph")
    assert "7 images without labels" in text
    assert "Nothing learns from 3 of them" in text
    assert "No group is shared between splits." in text


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
