"""The report in other languages: nothing is left untranslated that the code can say."""

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import vesselrl
from vesselrl.annotations.acceptance import EXCHANGED
from vesselrl.annotations.accounts import account_for
from vesselrl.annotations.duplicates import LookAlike, tell_leaks, tell_together
from vesselrl.annotations.parameters import SplitFractions
from vesselrl.annotations.pseudonyms import Pseudonyms
from vesselrl.annotations.splits import (
    obey_splits_file,
    share_warnings,
    strangers,
    without_look_alikes,
)
from vesselrl.pipelines.evaluation.nodes import _complete
from vesselrl.report.comparison import SCORES, leaderboard
from vesselrl.report.language import catalogue, say, say_stored, written_in
from vesselrl.report.methods import methods
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.verdict import verdict
from vesselrl.report.words import counted, listed
from vesselrl.reward import names
from vesselrl.reward.parameters import FitnessParameters
from vesselrl.reward.report_card import fitness

ZH = catalogue("zh")
SETTINGS = ReportParameters(bootstrap_resamples=100)


def messages_of(call: ast.Call) -> list[str]:
    """The messages a call of ``say``, ``mark`` or ``counted`` names, in all branches of it."""
    name = getattr(call.func, "id", "")
    if name not in ("say", "mark", "counted"):
        return []
    argument = call.args[1 if name == "counted" else 0]
    branches = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
    said = [b.value for b in branches if isinstance(b, ast.Constant)]
    return [f"{{n}} {noun}{s}" for noun in said for s in ("", "s")] if name == "counted" else said


def messages_of_the_code() -> set[str]:
    root = Path(vesselrl.__file__).parent
    trees = [ast.parse(file.read_text()) for file in root.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    templates = [file.read_text() for file in root.rglob("*.j2")]
    in_templates = {m for text in templates for m in re.findall(r'\bsay\("([^"]+)"', text)}
    return {message for call in calls for message in messages_of(call)} | in_templates


def english_in(text: str, *allowed: str) -> set[str]:
    """Words of Latin letters that are not known to stay."""
    stay = {
        "Dice",
        "CI",
        "Kendall",
        "Holm",
        "default",
        "best",
        "rl",
        "static",
        "network",
        "networks",
        *allowed,
    }
    return set(re.findall(r"[A-Za-z]{2,}", text)) - stay


def test_everything_the_report_can_say_is_translated() -> None:
    said = messages_of_the_code()
    assert len(said) > 200
    fixed = {names.NETWORK, *names.RIVALS.values(), *names.HACKS.values()}
    assert sorted((said | fixed) - set(ZH)) == []


def test_translations_fill_in_what_their_messages_fill_in() -> None:
    for message, translation in ZH.items():
        places = [set(re.findall(r"\{(\w+)\}", text)) for text in (message, translation)]
        assert places[0] == places[1], message


def test_a_message_without_translation_stays_english() -> None:
    with written_in("zh"):
        assert say("{n} unicorns", n=3) == "3 unicorns"
        assert say_stored("A sentence nobody knows.") == "A sentence nobody knows."
    assert say("Leaderboard") == "Leaderboard"


def test_counts_and_lists_follow_the_language() -> None:
    with written_in("zh"):
        assert counted(1, "image") == "1 幅图像"
        assert listed(["a", "b", "c"]) == "a、b和c"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_a_language_without_catalogue_is_refused() -> None:
    with pytest.raises(ValidationError, match="language"):
        ReportParameters(language="xx")


def judge(objective: dict[str, list[float]], calls: dict[str, float]) -> list[str]:
    """The sentences of a verdict on methods with these scores, an image a group."""
    rows = [
        {"method": method, "seed": 1, "image": f"i{n:02d}", "group": n}
        | dict.fromkeys(SCORES, score)
        | {"segmenter_calls": calls.get(method, 1)}
        for method, scores in objective.items()
        for n, score in enumerate(scores)
    ]
    table = pd.DataFrame(rows)
    kinds: dict[str, dict[str, Any]] = {
        "static": {"kind": "static"}, "rl": {"kind": "policy"}, "default": {"kind": "default"},
        "network": {"kind": "network", "passes": 1}, "networks": {"kind": "network", "passes": 9},
    }  # fmt: skip
    board = leaderboard(table, kinds, SETTINGS, 1)
    result = verdict(table, board, SETTINGS, 1)
    learning = result["reinforcement_learning"] or {"sentence": ""}
    return [result["sentence"], result["rule"], learning["sentence"], *result["warnings"].values()]


FLAT = [0.5 + 0.01 * (n % 3) for n in range(16)]
NOISY = [x + 0.002 + 0.1 * (-1) ** n for n, x in enumerate(FLAT)]
BETTER = [x + 0.2 for x in FLAT]


@pytest.mark.parametrize(
    ("objective", "calls"),
    [
        ({"default": FLAT, "static": BETTER}, {}),
        ({"default": FLAT}, {}),
        ({"default": FLAT, "static": NOISY}, {"static": 11}),
        ({"default": FLAT, "static": BETTER, "rl": [x + 0.2 for x in NOISY]}, {}),
        ({"default": FLAT, "static": BETTER, "rl": [x + 0.2 for x in NOISY]}, {"rl": 3}),
        ({"default": FLAT, "rl": BETTER}, {}),
        ({"default": FLAT, "static": [1.0] * 16}, {}),
        (
            {"default": FLAT, "network": BETTER, "networks": [x + 0.2 for x in NOISY]},
            {"network": 0, "networks": 0},
        ),
        ({"default": FLAT, "static": [0.995] * 15 + [0.5]}, {}),
    ],
)
def test_every_verdict_is_told_in_chinese(
    objective: dict[str, list[float]], calls: dict[str, float]
) -> None:
    for sentence in judge(objective, calls):
        with written_in("zh"):
            assert english_in(say_stored(sentence)) == set()


@pytest.mark.parametrize("tau", [0.1, 0.9])
@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("right", [True, False])
def test_every_judgement_of_the_reward_network_is_told_in_chinese(
    tau: float, share: float, right: bool
) -> None:
    hacks = pd.DataFrame(
        {"hack": list(names.HACKS), "right": right, "dice_share": np.full(len(names.HACKS), share)}
    )
    reason = fitness({"objective_tau": tau}, hacks, FitnessParameters(tau=0.3, hacks_right=0.5))
    with written_in("zh"):
        assert english_in(say_stored(reason["reason"])) == set()


def test_warnings_on_what_came_in_are_told_in_chinese() -> None:
    groups = dict(zip("abcd", "1234", strict=True))
    sides = {"a": "train", "b": "test", "c": "unlabelled", "d": "unlabelled"}
    _, no_label = obey_splits_file({"a": "train", "d": "val"}, groups, "a")
    _, look_alike = without_look_alikes(sides, groups, [{"2", "3"}])
    leak = [LookAlike(("2", "3"), ("b", "c"), 0)]
    samples = pd.DataFrame(
        {"id": list(sides), "group": list("1223"), "split": sides.values(), "sha256": list("1234")}
    )
    accepted = pd.DataFrame(
        {"file": list(sides), "clipped": False, "vessel_fraction": 0.9, "width": 3, "height": 2}
    )
    refused = pd.DataFrame({"file": ["f"], "hint": EXCHANGED})
    report = account_for(accepted, refused, samples, {"warnings": []}, [*sides, "e.png"], {})
    unknown = strangers({"groups.json": {"g": "1"}}, accepted, Pseudonyms(None))
    by_group = dict(zip("1234", sides.values(), strict=True))
    leaking = tell_leaks(leak, by_group, "warn", by_file=True)
    warnings = [*no_label, *look_alike, *leaking, *unknown, *report["warnings"]]
    assert len(warnings) == 10
    names = (
        "splits json images ingest unannotated unlabelled split on leak on_leak move groups "
        "quarantine csv ingest_overview png overview"
    )
    with written_in("zh"):
        for warning in warnings:
            assert english_in(say_stored(warning), *names.split()) == set(), warning


def test_warnings_on_splits_are_told_in_chinese() -> None:
    fractions = SplitFractions(train=0.6, val=0.2, test=0.2)
    groups = {"a.png": "p1", "b.png": "p2"}
    warnings = share_warnings(dict.fromkeys(groups, "train"), groups, fractions)
    assert len(warnings) == 3
    with written_in("zh"):
        assert [english_in(say_stored(warning)) for warning in warnings] == [set()] * 3


SPLIT_OF = {f"p{n}": "train" for n in range(9)} | {f"q{n}": "test" for n in range(9)}


def alike(number: int) -> LookAlike:
    groups = f"p{number}", f"q{number}"
    return LookAlike(groups, (f"a{number}.png", f"b{number}.png"), distance=12)


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_look_alikes_across_splits_are_told_in_chinese(count: int, by_file: bool) -> None:
    pairs = [alike(number) for number in range(count)]
    (warning,) = tell_leaks(pairs, SPLIT_OF, "warn", by_file)
    with written_in("zh"):
        said = say_stored(warning)
    assert f"有 {count} 对组在不同子集中含有相似图像" in said
    for number in range(min(count, 3)):
        assert (
            f"a{number}.png（组 p{number}，训练）与 b{number}.png（组 q{number}，测试），"
            "256 位中相差 12 位"
        ) in said
    settings = "splits", "json", "groups", "split", "on", "leak", "move", "png"
    assert english_in(said, *settings) == set()


@pytest.mark.parametrize("size", [2, 9])
@pytest.mark.parametrize("earlier", [{}, dict.fromkeys(SPLIT_OF, "val")])
def test_groups_kept_together_are_told_in_chinese(size: int, earlier: dict[str, str]) -> None:
    together = [{f"p{number}" for number in range(size)}, {"q1", "q2"}]
    (warning,) = tell_together(together, earlier, SPLIT_OF)
    with written_in("zh"):
        said = say_stored(warning)
    assert "p0 + p1" in said
    assert ("p0（验证 → 训练）" in said) == bool(earlier)
    assert english_in(said, "split", "on", "leak", "move") == set()


def test_what_to_do_about_missing_masks_is_told_in_chinese() -> None:
    with written_in("zh"):
        said = say_stored(_complete("mine", ["a1", "a2"], 3))
        assert said == (
            "请将 3 幅测试图像中 2 幅的掩膜（a1, a2）放到 evaluation.methods.mine.path 所指的位置"
        )
        assert say_stored("kedro run --pipeline experiments") == "kedro run --pipeline experiments"


@pytest.mark.parametrize(("prompt", "shown"), [("all", "全部"), ("unknown", "未知"), ("", "无")])
def test_a_prompt_without_a_name_is_told_in_chinese(prompt: str, shown: str) -> None:
    board = pd.DataFrame({"method": ["m"], "kind": ["imported"]})
    choices = pd.DataFrame(
        {"method": ["m"], "prompt": [prompt], "operations": [prompt], "threshold": [None]}
    )
    with written_in("zh"):
        table = methods(board, choices, {}, {}).blocks[-1]
    assert table.rows == (("m", f"{shown} (100%)", f"{shown} (100%)", "–"),)
