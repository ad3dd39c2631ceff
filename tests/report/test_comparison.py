"""Leaderboard and verdict on scores made by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vesselrl.errors import VesselrlError
from vesselrl.report.charts import draw_cost
from vesselrl.report.comparison import SCORES, leaderboard
from vesselrl.report.limits import what_the_test_can_show
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.summary import summary
from vesselrl.report.verdict import verdict

SETTINGS = ReportParameters(bootstrap_resamples=500)
KINDS = {
    "default": "default", "static": "static", "rl": "policy", "oracle": "oracle",
    "regressor": "regressor", "upper_bound": "oracle", "dice_thrown": "random",
    "posterior": "posterior", "mine": "imported", "best_of_one": "best_of_one",
    "one_network": "network", "many_networks": "network",
}  # fmt: skip


def scores(
    dice: dict[str, Any], groups: int = 12, calls: dict[str, float] | None = None
) -> pd.DataFrame:
    """Two images a group; every score equals the Dice, which may be one number or one an image."""
    images = [f"i{number:02d}" for number in range(2 * groups)]
    parts = []
    for method, values in dice.items():
        part = pd.DataFrame({"method": method, "seed": 1, "image": images, "split": "test"})
        part["group"] = [f"g{number // 2}" for number in range(2 * groups)]
        for score in SCORES:
            part[score] = values
        part["segmenter_calls"] = (calls or {}).get(method, 1)
        part["seconds"] = 0.1 if method == "default" else 0.2
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def judge(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {name: {"kind": kind} for name, kind in KINDS.items()}
    kinds["one_network"]["passes"], kinds["many_networks"]["passes"] = 1, 20
    board = leaderboard(table, kinds, SETTINGS, seed=0)
    return board.set_index("method"), verdict(table, board, SETTINGS, seed=0)


def test_what_marks_everything_is_not_recommended_however_high_its_objective() -> None:
    table = scores(
        {
            "default": 0.36 + noise(0.01, 1),
            "static": 0.4 + noise(0.01, 2),
            "dice_thrown": 0.35 + noise(0.01, 3),
            "one_network": 0.1 + noise(0.01, 4),
            "rl": 0.09 + noise(0.01, 5),
        }
    )
    table.loc[table["method"].isin(["one_network", "rl"]), "recall"] = 1.0
    board, found = judge(table)
    assert board["objective"].idxmax() == "one_network"
    assert sorted(found["below_random"]) == ["one_network", "rl"]
    assert (found["recommended"], found["best"]) == ("static", "static")
    assert found["not_worse"] == ["static"]
    assert found["reinforcement_learning"]["rival"] == "static"
    assert found["sentence"].endswith("no other method that qualifies scores higher.")
    told = str(summary(found, board.reset_index(), SETTINGS, 0, False))
    assert "Left out for their Dice" in told
    assert "one_network and rl." in told
    without_control = judge(table[table["method"] != "dice_thrown"])[1]
    assert without_control["below_random"] == []


def test_a_network_that_rl_trained_answers_whether_rl_helps() -> None:
    table = scores({"default": 0.5 + noise(0.01, 1), "pixels": 0.7 + noise(0.01, 2)})
    methods = {"default": {"kind": "default"}, "pixels": {"kind": "network", "network": "pixel_rl"}}
    board = leaderboard(table, methods, SETTINGS, seed=0)
    assert board.set_index("method")["by_rl"].to_dict() == {"default": False, "pixels": True}
    learning = verdict(table, board, SETTINGS, seed=0)["reinforcement_learning"]
    assert learning["best"] == "pixels"
    assert learning["gain"]


def noise(scale: float, seed: int, size: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, size)


def test_default_stays_when_nothing_is_significantly_better() -> None:
    table = scores({"default": 0.7 + noise(0.05, 1), "rl": 0.702 + noise(0.05, 2)})
    _, result = judge(table)
    assert result["recommended"] == "default"
    assert result["sentence"].startswith("Stay with ‘default’")
    assert not result["reinforcement_learning"]["gain"]


def test_clearly_better_policy_is_recommended_and_called_a_gain() -> None:
    table = scores({"default": 0.7, "static": 0.71, "rl": 0.8 + noise(0.01, 1), "oracle": 0.9})
    board, result = judge(table)
    assert result["recommended"] == "rl"
    assert result["reinforcement_learning"]["gain"]
    assert result["reinforcement_learning"]["rival"] == "static"
    assert result["room"] == pytest.approx(0.2)
    assert board.loc["rl", "wins"] == 24


def test_cheaper_of_two_equals_is_recommended() -> None:
    table = scores(
        {"default": 0.6, "static": 0.8 + noise(0.02, 1), "rl": 0.803 + noise(0.02, 2)},
        calls={"rl": 11},
    )
    _, result = judge(table)
    assert result["best"] == "rl"
    assert result["recommended"] == "static"
    assert "segmenter calls an image: 11 against 1" in result["sentence"]


def test_an_unknown_cost_is_never_the_cheapest() -> None:
    table = scores(
        {"default": 0.6, "static": 0.8 + noise(0.02, 1), "mine": 0.803 + noise(0.02, 2)},
        calls={"static": 11, "mine": np.nan},
    )
    _, result = judge(table)
    assert result["best"] == "mine"
    assert result["recommended"] == "static"
    assert "‘mine’ scores" in result["sentence"]
    assert result["sentence"].endswith("what it costs is unknown.")
    assert "unknown ones count as more than any" in result["rule"]


def test_of_networks_that_score_alike_the_one_of_fewest_passes_is_recommended() -> None:
    base = 0.7 + noise(0.05, 1)
    alike = base + 0.002 + 0.02 * np.repeat((-1.0) ** np.arange(12), 2)
    table = scores(
        {"default": base - 0.1, "one_network": base, "many_networks": alike},
        calls={"one_network": 0, "many_networks": 0},
    )
    board, result = judge(table)
    assert (result["best"], result["recommended"]) == ("many_networks", "one_network")
    assert "takes 20 passes through networks trained here instead of 1." in result["sentence"]
    assert board["network_passes"].to_dict() == {
        "default": 0, "one_network": 1, "many_networks": 20,
    }  # fmt: skip


def test_what_costs_less_than_the_baseline_is_not_recommended_if_it_scores_less() -> None:
    base = 0.7 + noise(0.05, 1, size=4)
    table = scores({"default": base, "one_network": base - 0.1}, groups=2, calls={"one_network": 0})
    _, result = judge(table)
    assert "one_network" in result["not_worse"]
    assert result["recommended"] == "default"


@pytest.mark.parametrize(("groups", "recommended"), [(2, "default"), (12, "one_network")])
def test_a_score_is_given_up_only_for_what_is_shown_to_be_better(
    groups: int, recommended: str
) -> None:
    table = scores({"default": 0.7, "one_network": 0.71}, groups, calls={"one_network": 0})
    traded = table["method"] == "one_network"
    jitter = noise(0.01, 1, size=2 * groups)
    table.loc[traded, "dice"] = 0.6 + jitter
    table.loc[traded, "recall"] = 0.9 + jitter
    _, result = judge(table)
    assert result["gain"]["difference"] >= 0
    assert result["recommended"] == recommended


@pytest.mark.parametrize("groups", [2, 6])
def test_where_nothing_could_be_significant_no_price_is_worth_a_clear_loss(groups: int) -> None:
    free = {"one_network": 0, "many_networks": 0}
    cheap = {"default": 0.7, "one_network": 0.705}
    others = {"mine": 0.5, "posterior": 0.6, "regressor": 0.7}  # more comparisons

    def recommended(dice: dict[str, float]) -> str:
        _, found = judge(scores(cheap | dice | others, groups, free))
        assert found["smallest_effect"] is None
        return str(found["recommended"])

    assert recommended({"static": 0.9}) == "static"
    assert recommended({"many_networks": 0.9}) == "many_networks"
    assert recommended({"static": 0.712}) == "one_network"  # less than a point
    assert recommended({"rl": 0.9, "one_network": 0.6}) == "default"  # training is a price


@pytest.mark.parametrize("resamples", [100, 10_000])
def test_too_few_resamples_are_told_as_too_few_groups_are(resamples: int) -> None:
    names = ("default", "static", "rl", "mine", "posterior", "regressor", "best_of_one")
    table = scores({name: 0.3 + 0.1 * number for number, name in enumerate(names)})
    kinds = {name: {"kind": kind} for name, kind in KINDS.items()}
    settings = ReportParameters(bootstrap_resamples=resamples)
    found = verdict(table, leaderboard(table, kinds, settings, 0), settings, 0)
    too_few = resamples == 100
    assert (found["smallest_effect"] is None) == too_few
    assert all((row["p"] >= 0.05) == too_few for row in found["compared_with_best"])


def test_the_best_is_passed_over_for_the_score_that_it_gives_up_not_for_a_price() -> None:
    table = scores(
        {"default": 0.7, "static": 0.72, "one_network": 0.9}, 2, {"one_network": 0, "static": 1}
    )
    table.loc[table["method"] == "one_network", "recall"] = 0.6
    _, found = judge(table)
    assert (found["recommended"], found["best"]) == ("static", "one_network")
    assert found["sentence"].endswith("and is lower than ‘default’ in recall.")


def test_what_is_clearly_best_is_recommended_though_its_cost_is_unknown() -> None:
    table = scores({"default": 0.6, "mine": 0.8 + noise(0.02, 1)}, calls={"mine": np.nan})
    assert judge(table)[1]["recommended"] == "mine"


def test_a_method_that_calls_no_segmenter_is_the_cheapest_of_equals() -> None:
    table = scores(
        {"default": 0.6, "static": 0.8 + noise(0.02, 1), "mine": 0.799 + noise(0.02, 2)},
        calls={"mine": 0},
    )
    _, result = judge(table)
    assert (result["best"], result["recommended"]) == ("static", "mine")
    assert "costs more (segmenter calls an image: 1 against 0)" in result["sentence"]


def test_every_method_has_its_place_in_the_figure_of_costs_known_or_not() -> None:
    dice = {"default": 0.6, "static": 0.7, "rl": 0.75, "oracle": 0.9, "mine": 0.8, "posterior": 0.5}
    table = scores(dice, calls={"oracle": 11, "mine": np.nan, "posterior": 0, "rl": 2.2})
    board, _ = judge(table)
    (ax,) = draw_cost(board.reset_index(), "static", SETTINGS).axes
    ticks = {
        text.get_text(): float(place)
        for text, place in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)
    }
    assert list(ticks) == ["0", "1", "2.2", "11", "unknown"]
    assert sorted(set(np.diff(list(ticks.values())))) == [1]
    points = {
        (round(float(line.get_xdata()[0]), 6), round(float(line.get_ydata()[0]), 6))
        for line in ax.lines
        if line.get_marker() == "o"
    }
    stands = {"default": "1", "static": "1", "rl": "2.2", "oracle": "11", "mine": "unknown",
              "posterior": "0"}  # fmt: skip
    assert points == {(round(ticks[stands[m]], 6), dice[m]) for m in dice}
    assert {text.get_text() for text in ax.texts} == set(dice)
    (front,) = [line for line in ax.lines if line.get_label() == "nothing better at this cost"]
    assert list(front.get_ydata()) == pytest.approx([0.5, 0.7, 0.75, 0.75])
    assert front.get_xdata()[-1] < ticks["unknown"]


@pytest.mark.parametrize("calls", [0, np.nan])
def test_costs_are_drawn_where_none_has_a_place_on_the_scale(calls: float) -> None:
    board, _ = judge(scores({"default": 0.6, "mine": 0.8}, calls={"default": calls, "mine": calls}))
    figure = draw_cost(board.reset_index(), "mine", SETTINGS)
    assert {text.get_text() for text in figure.axes[0].texts} == {"default", "mine"}


def test_imported_masks_are_no_rival_without_reinforcement_learning() -> None:
    dice = {"default": 0.6, "mine": 0.9, "rl": 0.7 + noise(0.01, 1)}
    _, result = judge(scores(dice))
    assert result["reinforcement_learning"]["rival"] == "default"


def test_of_equals_what_needs_no_training_is_preferred_to_policies_of_either_kind() -> None:
    equal = {method: 0.8 + noise(0.02, seed) for seed, method in enumerate(("static", "regressor"))}
    _, result = judge(scores({"default": 0.6, **equal, "rl": 0.803 + noise(0.02, 2)}))
    assert result["recommended"] == "static"


def test_of_equals_what_needs_no_network_is_preferred_to_what_the_reward_network_picks() -> None:
    static, best_of_one = 0.8 + noise(0.02, 1), 0.803 + noise(0.02, 2)
    _, result = judge(scores({"default": 0.6, "static": static, "best_of_one": best_of_one}))
    assert result["recommended"] == "static"
    assert "trained policy or network" in result["sentence"]


def test_reinforcement_learning_must_beat_plain_regression_to_be_called_a_gain() -> None:
    table = {"default": 0.6, "static": 0.7, "rl": 0.8 + noise(0.02, 1)}
    assert judge(scores(table))[1]["reinforcement_learning"]["gain"]
    _, result = judge(scores(table | {"regressor": 0.8 + noise(0.02, 2)}))
    assert result["reinforcement_learning"]["rival"] == "regressor"
    assert not result["reinforcement_learning"]["gain"]


def test_how_much_of_the_room_regression_foretells_is_told() -> None:
    table = {"default": 0.6, "static": 0.7, "regressor": 0.71, "oracle": 0.75}
    _, result = judge(scores(table))
    assert result["foretold"]["gain"] == pytest.approx(0.01)
    assert result["foretold"]["room"] == pytest.approx(0.05)
    text = what_the_test_can_show(result)
    assert "‘static’, one setting for all images, that is +5.0 points" in text
    assert "‘regressor’, the best regression" in text
    assert "reaches +1.0." in text
    _, without = judge(scores({"default": 0.6, "static": 0.7, "oracle": 0.75}))
    assert without["foretold"] is None
    assert "regression" not in what_the_test_can_show(without)


def test_oracle_is_shown_first_and_never_recommended() -> None:
    board, result = judge(scores({"default": 0.5, "static": 0.6, "oracle": 0.9}))
    assert board.index[0] == "oracle"
    assert not board.loc["oracle", "deployable"]
    assert result["recommended"] == "static"


def test_what_uses_the_truth_or_chance_is_never_recommended_under_any_name() -> None:
    board, result = judge(scores({"default": 0.5, "upper_bound": 0.9, "dice_thrown": 0.8}))
    assert not board.loc[["upper_bound", "dice_thrown"], "deployable"].any()
    assert result["recommended"] == "default"


def test_where_nothing_can_be_recommended_the_report_says_so() -> None:
    table = scores({"default": 0.5, "oracle": 0.9})
    kinds = {"default": {"kind": "random"}, "oracle": {"kind": "oracle"}}
    board = leaderboard(table, kinds, SETTINGS, seed=0)
    with pytest.raises(VesselrlError, match="None of evaluation.methods can be recommended"):
        verdict(table, board, SETTINGS, seed=0)


def test_equal_methods_are_not_told_as_better() -> None:
    _, result = judge(scores({"default": 0.7, "posterior": 0.7}, calls={"posterior": 11}))
    assert result["best"] == result["recommended"] == "default"
    assert result["sentence"].endswith("no other method that qualifies scores higher.")


@pytest.mark.parametrize("groups", [6, 7, 12])
def test_all_p_values_of_one_report_follow_one_rule(groups: int) -> None:
    """A gain by reinforcement learning is claimed only where the policy beats every rival."""
    table = scores(
        {"default": 0.5, "static": 0.5, "posterior": 0.5, "rl": 0.7}, groups, {"posterior": 11}
    )
    board, result = judge(table)
    floor = 2.0 ** (1 - groups)
    assert board.loc["rl", "difference_p"] >= floor
    learning = result["reinforcement_learning"]
    against_default = next(r for r in result["compared_with_best"] if r["method"] == "default")
    assert learning["p"] == pytest.approx(against_default["p"])
    assert learning["gain"] == (result["recommended"] == "rl") == (learning["p"] < 0.05)


def test_a_handful_of_groups_never_shows_significance() -> None:
    board, result = judge(scores({"default": 0.5, "rl": 0.9}, groups=3))
    assert board.loc["rl", "difference_p"] >= 0.05
    assert result["recommended"] == "default"
    assert not result["reinforcement_learning"]["gain"]


def test_seeds_are_averaged_before_images() -> None:
    table = scores({"default": 0.5, "rl": np.repeat([0.6, 0.7], 12)})
    again = table[table["method"] == "rl"].assign(seed=2, dice=0.8)
    board, _ = judge(pd.concat([table, again]))
    assert board.loc["rl", "dice"] == pytest.approx((0.7 + 0.75) / 2)
    assert board.loc["rl", "seeds"] == 2
    assert board.loc["rl", "dice_sd_over_seeds"] == pytest.approx(np.std([0.65, 0.8], ddof=1))
    assert board.loc["rl", "wins"] == 24


def test_wins_ties_and_losses_count_all_images() -> None:
    change = np.repeat([0.05, 0.0005, -0.05], 8)
    board, _ = judge(scores({"default": 0.7, "static": 0.7 + change}))
    assert list(board.loc["static", ["wins", "ties", "losses"]]) == [8, 8, 8]
    assert board.loc["static", "difference"] == pytest.approx(change.mean())
    assert np.isnan(board.loc["default", "difference_p"])


def test_target_inside_the_interval_is_called_within_chance() -> None:
    _, result = judge(scores({"default": 0.85 + noise(0.1, 3)}))
    assert {target["status"].split(", ")[1] for target in result["targets"]} == {"within chance"}
    _, result = judge(scores({"default": 0.95 + noise(0.01, 3)}))
    assert {target["status"] for target in result["targets"]} == {"met"}


def test_images_without_thin_vessels_are_left_out_of_thin_recall() -> None:
    table = scores({"default": 0.5, "static": 0.6})
    table.loc[table["image"] == "i00", "thin_recall"] = np.nan
    table.loc[table["image"] == "i01", "thin_recall"] = 0.0
    board, _ = judge(table)
    assert board.loc["static", "thin_recall"] == pytest.approx(0.6 * 22 / 23)


def test_method_or_seed_lacking_images_is_refused_by_name() -> None:
    table = scores({"default": 0.5, "static": 0.6})
    with pytest.raises(VesselrlError, match=r"‘static’ \(seed 1\).* for 1 of 24 images \(i23\)"):
        judge(table.iloc[:-1])
    few = table[table["method"] == "static"].iloc[:10].assign(seed=2)
    with pytest.raises(
        VesselrlError, match=r"‘static’ \(seed 2\).*14 of 24 .*\(i10, i11, i12, …\)"
    ):
        judge(pd.concat([table, few]))


def test_scores_of_an_earlier_version_are_refused_with_what_to_run() -> None:
    table = scores({"default": 0.5, "static": 0.6}).drop(columns=["thin_share", "thin_recall"])
    with pytest.raises(
        VesselrlError, match=r"lacks the columns thin_recall, thin_share.*kedro run"
    ):
        judge(table)


def summary_of(table: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    """The verdict, and the warnings at the head of the report's summary."""
    board, result = judge(table)
    blocks = summary(result, board.reset_index(), SETTINGS, 0, quick=False).blocks
    return result, [b.text for b in blocks if b.kind == "callout" and b.tone == "warning"]


def test_a_method_that_copies_the_truth_is_called_out_before_it_is_recommended() -> None:
    result, warnings = summary_of(scores({"default": 0.7, "rl": 1.0}))
    assert len(warnings) == 1
    assert "‘rl’ (seed 1) is identical to the truth on every test image (24)" in warnings[0]
    assert "is the truth leaking into it?" in warnings[0]
    assert result["recommended"] == "rl"
    assert result["sentence"].endswith(f"But {warnings[0]}")


def test_one_seed_nearly_identical_to_the_truth_on_nearly_all_images_is_called_out() -> None:
    near = np.where(np.arange(24) < 22, 0.995, 0.4)
    table = scores({"default": 0.7, "static": near})
    honest = table[table["method"] == "static"].assign(seed=2, dice=0.75)
    _, warnings = summary_of(pd.concat([table, honest]))
    assert len(warnings) == 1
    assert (
        "‘static’ (seed 1) is nearly identical to the truth (Dice of 0.99 or more) on 22 of 24"
        in (warnings[0])
    )


def test_good_methods_and_those_right_about_empty_images_are_not_suspected() -> None:
    good = np.where(np.arange(24) < 20, 0.995, 0.9)
    assert summary_of(scores({"default": 0.7, "oracle": good}))[1] == []
    table = scores({"default": 0.7, "static": 1.0})
    table.loc[table["method"] == "default", "dice"] = 0.0
    table["thin_share"] = np.nan
    assert summary_of(table)[1] == []


def test_an_oracle_that_equals_the_truth_is_called_out_too() -> None:
    assert len(summary_of(scores({"default": 0.7, "oracle": 1.0}))[1]) == 1


def test_what_is_detectable_is_told_in_words_and_tells_no_difference_from_too_few_patients() -> (
    None
):
    few, many = (
        judge(scores({"default": 0.7, "rl": 0.71 + noise(0.1, 1, 2 * n)}, n))[1] for n in (8, 80)
    )
    assert few["smallest_effect"] > 2 * many["smallest_effect"] > 0
    assert few["smallest_effect"] == few["compared_with_best"][0]["detectable"]
    text = what_the_test_can_show(few)
    assert f"truly {100 * few['smallest_effect']:.1f} points worse than the best" in text
    assert "80 % of such tests" in text


def test_where_no_difference_could_be_significant_none_is_called_detectable() -> None:
    _, result = judge(scores({"default": 0.5, "rl": 0.9}, groups=4))
    assert result["smallest_effect"] is None
    assert result["compared_with_best"][0]["detectable"] is None
    text = what_the_test_can_show(result)
    assert "no difference, however large, could come out significant" in text
    assert "points worse than the best" not in text


@pytest.mark.parametrize(("groups", "intervals"), [(1, False), (2, True)])
def test_one_group_is_said_to_give_no_intervals(groups, intervals) -> None:
    _, result = judge(scores({"default": 0.5, "rl": 0.9}, groups=groups))
    text = what_the_test_can_show(result)
    assert ("the intervals themselves are too narrow" in text) == intervals
    assert ("From one group there are no intervals" in text) != intervals


def test_the_effect_size_has_the_sign_of_the_difference() -> None:
    board, _ = judge(scores({"default": 0.7, "static": 0.8, "rl": 0.6}))
    assert list(board.loc[["static", "rl", "default"], "effect_size"]) == [1, -1, 0]


def test_missing_baseline_is_an_error_that_lists_the_methods() -> None:
    with pytest.raises(VesselrlError, match=r"‘default’, which was not evaluated.*static"):
        judge(scores({"static": 0.6}))
