"""What benchmarks do before and after they measure."""

import importlib
import logging
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield importlib.import_module
    logging.disable(logging.NOTSET)  # benchmarks silence Kedro


def test_a_table_of_no_draws_says_what_is_missing(benchmark, tmp_path):
    with pytest.raises(SystemExit, match=f"No draw is finished in {tmp_path}.*_labels_<draw>.csv"):
        benchmark("few_labels").table(tmp_path)


def test_a_method_that_is_not_in_all_draws_is_compared_in_its_own(benchmark, tmp_path, capsys):
    few_labels = benchmark("few_labels")
    for labels, level in ((5, 0.5), (10, 0.8)):
        gains = dict.fromkeys(few_labels.RIVALS, 0.0) | ({"some": 0.02} if labels == 10 else {})
        rows = [
            {"method": method, "image": f"i{n}", "group": n // 2, "dice_at_half": level + gain}
            for method, gain in gains.items()
            for n in range(8)
        ]
        table = pd.DataFrame(rows).assign(objective_at_best=lambda rows: rows["dice_at_half"])
        table.to_csv(tmp_path / f"{labels}_labels_0.csv", index=False)
    few_labels.table(tmp_path)
    compared = re.findall(r"some +(\S+) +\[", capsys.readouterr().out)
    assert set(compared) == {"+2.00"}


def test_no_two_images_to_predict_are_equal_however_few_are_drawn(benchmark, tmp_path, monkeypatch):
    scaling, measuring = benchmark("predict_scaling"), benchmark("measuring")
    monkeypatch.setattr(scaling, "DRAWN", 2)
    scaling.draw_all(40, 64, tmp_path / "images")
    files = sorted((tmp_path / "images").iterdir())
    assert len({*measuring.hashes_of(files, tmp_path).values()}) == len(files) == 40
    assert {Image.open(file).size for file in files} == {(64, 64)}


def test_the_rate_is_that_of_the_middle_three_fifths(benchmark):
    moments = [0, 9, *range(10, 16), 50, 99]  # a slow start and end do not count
    assert benchmark("measuring").middle_rate(moments) == pytest.approx(6 / (50 - 10))
    assert benchmark("measuring").middle_rate(range(100)) == 1


def test_two_runs_of_predict_are_equal_and_one_of_other_images_is_not(benchmark, tmp_path):
    scaling = benchmark("predict_scaling")
    parameters = scaling.project_parameters("ridge")
    outs = {}
    for name, images in {"first": "a", "again": "a", "other": "b"}.items():
        if not (tmp_path / images).exists():
            scaling.draw_all(2 if images == "a" else 1, 64, tmp_path / images)
        outs[name] = tmp_path / name
        scaling.run_predict(tmp_path / images, outs[name], parameters, 0)
    assert scaling.equal(outs["first"], outs["again"]) == "equal"
    assert scaling.equal(outs["first"], outs["other"]) == "DIFFERENT"
    assert scaling.lines_of_journal(outs["first"]) == 2


def test_benchmarks_know_the_segmenter_of_the_project(benchmark, tmp_path):
    measuring = benchmark("measuring")
    segmenter = measuring.project_parameters()["segmenter"]
    assert benchmark("rl_world").Project().prompts == list(segmenter["prompts"])
    bench = benchmark("reward_net").Bench(1, 1, 1, 32, None, tmp_path)
    bench.draw(1)
    (image,), (example,) = (bench.loaders(kind, [0]).values() for kind in ("image", "example"))
    assert image()["levels"].shape == (len(segmenter["prompts"]), 32, 32)
    assert example()["maps"].shape[0] > len(segmenter["prompts"])


def test_the_benchmark_of_evaluation_scores_as_the_stage_does(benchmark, tmp_path):
    evaluation = benchmark("evaluation")
    bench = evaluation.Bench(pairs=4, distinct=2, size=64, rounds=1, folder=tmp_path)
    bench.draw()
    scores = evaluation.score_predictions(*bench.inputs(4, 2), metrics=[])
    assert scores["dice"].tolist() == pytest.approx(evaluation._bare_dice(*bench.inputs(4, 2)))
    assert "4 pairs of 64 × 64 pixels" in evaluation.measure_many(bench)
