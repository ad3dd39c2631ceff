"""Scores over thresholds, what methods cost, and which images are worst."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vesselrl.metrics.cuts import CUTS
from vesselrl.report.costs import method_costs
from vesselrl.report.failures import worst_images
from vesselrl.report.thresholds import draw_thresholds, threshold_curves


def test_threshold_curves_are_means_over_the_images_asked_for() -> None:
    truth = np.array([[True, False]])
    maps = {"a": [[255, 0]], "b": [[0, 255]], "c": [[0, 0]]}
    candidates = {
        image: lambda m=m: {"levels": np.array([m, m], np.uint8)} for image, m in maps.items()
    }
    masks = dict.fromkeys(maps, lambda: truth)
    curves = threshold_curves(["a", "b"], candidates, masks, {"one": 0, "two": 1})
    assert curves["prompt"].value_counts().to_dict() == {"one": 255, "two": 255}
    assert curves["recall"].unique().tolist() == [0.5]
    assert curves["dice"].unique().tolist() == [0.5]


def test_every_method_is_marked_where_its_precision_and_recall_are() -> None:
    curves = pd.DataFrame(
        {"prompt": "p", "threshold": CUTS, "dice": 0.5, "recall": 1 - CUTS, "precision": CUTS}
    )
    board = pd.DataFrame(
        {"method": ["u", "v"], "recall": [0.5, 0.7], "precision": [0.6, 0.4],
         "deployable": [True, False]}
    )  # fmt: skip
    figure = draw_thresholds(curves, board, "u")
    marks = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in marks] == [(0.5, 0.6), (0.7, 0.4)]
    assert [text.get_text() for text in figure.axes[1].texts] == ["1", "2"]
    assert {"u", "v", "p"} <= {text.get_text() for text in figure.legends[0].get_texts()}


def costs_of(
    kind: str,
    network_training: float = 90.0,
    infos: dict[int, dict[str, Any]] | None = None,
    name: str = "e",
    **columns: object,
) -> pd.Series:
    choices = pd.DataFrame(
        {"method": "m", "seed": [1, 2], "image": "a", "segmenter_calls": 2.0, "seconds": [0.5, 0.7]}
        | columns
    )
    timing = pd.DataFrame({"id": ["a"], "seconds": [1.1], "calls": [11]})
    network = pd.DataFrame({"id": ["a"], "opinion_seconds": [0.1], "judging_seconds": [0.2]})
    settings = {
        "segmenter": {"kind": "ridge"}, "actions": {"thresholds": [0.5]}, "reward": {},
        "sa2va_rl": {"seeds": [1]}, "supervised": {"folds": 3, "max_side": 320},
    }  # fmt: skip
    trained = {"network" if kind == "network" else "experiment": name}
    table = method_costs(
        choices, timing, network, {"m": {"kind": kind, **trained}}, {},
        {name: infos} if infos else {}, network_parameters=7,
        network_training=network_training, settings=settings,
    )  # fmt: skip
    return table.iloc[0]


def test_time_is_split_into_segmenter_network_and_the_rest() -> None:
    costs = costs_of("best_of_n")
    assert costs["seconds"] == pytest.approx(0.6)
    assert costs["segmenter_seconds"] == pytest.approx(0.2)
    assert costs["network_seconds"] == pytest.approx(0.3)
    assert costs["other_seconds"] == pytest.approx(0.1)
    assert (costs["parameters"], costs["files"]) == (7, "best_reward_net.pth")


def test_what_was_not_measured_apart_stays_unknown() -> None:
    costs = costs_of("best_of_one")
    assert np.isnan(costs["network_seconds"])
    assert costs["other_seconds"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("kind", "expected"), [("best_of_n", 90), ("posterior", 90), ("static", 0), ("oracle", 0)]
)
def test_who_needs_the_reward_network_needs_its_training(kind: str, expected: float) -> None:
    costs = costs_of(kind)
    assert (costs["training_seconds"], costs["network_training_seconds"]) == (0, expected)


def test_training_time_that_was_not_recorded_is_unknown_to_those_who_need_the_network() -> None:
    assert np.isnan(costs_of("best_of_n", np.nan)["network_training_seconds"])
    assert costs_of("static", np.nan)["network_training_seconds"] == 0


def test_a_network_has_the_parameters_and_files_that_its_facts_tell() -> None:
    infos = {1: {"seconds": 60.0, "parameters": 500, "files": ["a.safetensors", "b.safetensors"]}}
    costs = costs_of("network", infos=infos, segmenter_calls=0.0)
    assert (costs["parameters"], costs["files"]) == (500, "a.safetensors, b.safetensors")
    assert (costs["training_seconds"], costs["network_training_seconds"]) == (60, 0)
    assert (costs["encoder_passes"], costs["network_seconds"]) == (0, 0)
    assert costs["other_seconds"] == pytest.approx(costs["seconds"])
    assert costs["reward_network"] == "no"


def test_the_segmenter_with_adapters_costs_its_call_and_is_configured_as_the_segmenter() -> None:
    infos = {1: {"seconds": 60.0, "parameters": 500, "files": ["adapters"]}}
    costs = costs_of("network", infos=infos, name="sa2va_rl", segmenter_calls=1.0)
    assert (costs["segmenter_calls"], costs["encoder_passes"]) == (1, 1)
    assert (costs["parameters"], costs["files"]) == (500, "adapters")
    assert costs["configuration_lines"] == 9  # segmenter 2, reward 1, sa2va_rl 3, method 3


def test_of_a_network_without_facts_nothing_is_claimed_but_its_time() -> None:
    costs = costs_of("network", segmenter_calls=0.0)
    assert costs[["parameters", "training_seconds", "configuration_lines"]].isna().all()
    assert costs["files"] == ""
    assert costs["seconds"] == pytest.approx(0.6)


def test_without_a_call_no_encoder_passes_and_all_time_is_the_methods_own() -> None:
    costs = costs_of("imported", segmenter_calls=0.0)
    assert (costs["encoder_passes"], costs["segmenter_seconds"]) == (0, 0)
    assert costs["other_seconds"] == pytest.approx(0.6)


@pytest.mark.parametrize("kind", ["imported", "policy"])
def test_nothing_is_claimed_of_a_method_that_was_made_elsewhere(kind: str) -> None:
    costs = costs_of(kind, segmenter_calls=np.nan, seconds=np.nan)
    unknown = [
        "segmenter_calls", "encoder_passes", "seconds", "segmenter_seconds", "network_seconds",
        "other_seconds", "parameters", "training_seconds", "network_training_seconds",
        "configuration_lines",
    ]  # fmt: skip
    assert costs[unknown].isna().all()
    assert costs["files"] == costs["reward_network"] == ""


def test_worst_images_tell_the_best_method_and_whether_the_segmenter_failed() -> None:
    index = pd.MultiIndex.from_product(
        [["u", "v", "oracle"], ["a", "b"]], names=["method", "image"]
    )
    scores = pd.DataFrame(
        {"group": "g", "dice": [0.2, 0.6, 0.5, 0.1, 0.9, 0.9], "recall": 0.5}, index=index
    )
    board = pd.DataFrame({"method": ["u", "v", "oracle"], "deployable": [True, True, False]})
    rows = worst_images(scores, board, "u", failed=["a"]).rows
    assert [row[0] for row in rows] == ["a (segmenter failed)", "b"]
    assert [row[2] for row in rows] == ["0.200", "0.600"]
    assert [row[-1] for row in rows] == ["0.500 (v)", "0.600 (u)"]
