"""Scoring masks beside nothing but their Dice, what each score costs, and comparing many methods.

    python benchmarks/evaluation.py [--pairs 10000] [--distinct 40] [--size 512] [--rounds 5]
                                    [--parts few many turns scores comparison]

Draws images with `vesselrl.synthetic`, asks the segmenter's default prompt about each, and keeps
the mask and the truth as PNG files. Then measures, each in a process of its own and on one core:

- *few*, *many*: the node ``score_predictions`` on a tenth of the pairs and on all, each the only
  mask of its image, as if the few drawn files were so many: time, and memory, which should not
  grow;
- *turns*: the node beside a bare loop that reads the same two files and counts the pixels of the
  Dice. They take turns, so that a busy machine slows both alike; a ratio is always of one round.
  Once with one mask an image, once with eleven, which share what is measured of the truth;
- *scores*: milliseconds a mask of each score alone, from masks in memory;
- *comparison*: leaderboard and verdict of eleven methods with drawn scores, each image a group.

Memory is the largest resident memory of the process. *Cores* is how many cores it kept busy on
average: less than one if others are at work on the machine.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import Clock, device_name, in_a_process, project_parameters, table

from vesselrl.datasets.images import MaskDataset
from vesselrl.evaluation.choices import CHOICE_COLUMNS
from vesselrl.evaluation.parameters import METRIC_COLUMNS
from vesselrl.metrics import masks
from vesselrl.metrics.geometry import Geometry
from vesselrl.pipelines.evaluation.nodes import score_predictions

METHODS = 11
TURN = 20
"""Images of one turn."""
COMPARED = (40, 1_000, 10_000)
"""Images that methods are compared on."""

Loaders = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Bench:
    """What the command line asks for, and the drawn masks.

    Attributes:
        pairs: how many masks the node scores.
        distinct: how many of them are drawn.
        size: side of the drawn images in pixels.
        rounds: how often each takes its turn.
        folder: of the drawn masks.
    """

    pairs: int
    distinct: int
    size: int
    rounds: int
    folder: Path

    def draw(self) -> None:
        """Draw images, one a patient, and ask the segmenter about each."""
        from vesselrl.segmenters.base import build_segmenter
        from vesselrl.segmenters.parameters import SegmenterParameters
        from vesselrl.synthetic.angiogram import draw_patient

        parameters = SegmenterParameters.model_validate(project_parameters()["segmenter"])
        segmenter = build_segmenter(parameters)
        for number in range(self.distinct):
            drawn = draw_patient(number, 1, self.size)[0]
            found = segmenter.probabilities(drawn.image, [parameters.default_prompt])[0] >= 0.5
            self._file("truth", number).save(drawn.mask.astype(bool))
            self._file("found", number).save(found)

    def inputs(self, images: int, methods: int = 1) -> tuple[pd.DataFrame, Loaders, Loaders, Any]:
        """The inputs of the node: choices, predictions, truths, samples."""
        ids = [f"i{number}" for number in range(images)]
        choices = pd.DataFrame("", index=range(images * methods), columns=CHOICE_COLUMNS)
        choices["image"] = np.repeat(ids, methods)
        choices["method"] = np.tile([f"m{number}" for number in range(methods)], images)
        choices["prediction"] = choices["method"] + "/" + choices["image"]
        files = enumerate(np.repeat(np.arange(images), methods))
        predictions = {choices["prediction"][row]: self._load("found", i) for row, i in files}
        truths = {name: self._load("truth", number) for number, name in enumerate(ids)}
        return (
            choices,
            predictions,
            truths,
            pd.DataFrame({"id": ids, "group": ids, "split": "test"}),
        )

    def pair(self, number: int) -> tuple[Any, Any]:
        """The found and the true mask of a drawn image, bool (H, W)."""
        return self._load("found", number)(), self._load("truth", number)()

    def _load(self, kind: str, number: int) -> Callable[[], Any]:
        return self._file(kind, number % self.distinct).load

    def _file(self, kind: str, number: int) -> MaskDataset:
        return MaskDataset(filepath=str(self.folder / f"{kind}{number}.png"))


def measure_few(bench: Bench) -> str:
    """A tenth of the pairs."""
    return _measure_node(bench, bench.pairs // 10)


def measure_many(bench: Bench) -> str:
    """All pairs."""
    return _measure_node(bench, bench.pairs)


def _measure_node(bench: Bench, images: int) -> str:
    inputs = bench.inputs(images)
    score_predictions(*bench.inputs(1), metrics=[])  # imports
    clock = Clock(torch.device("cpu"))
    with clock("all"):
        scores = score_predictions(*inputs, metrics=[])
    seconds = clock.seconds["all"][0]
    return (
        f"## {images:,} pairs of {bench.size} × {bench.size} pixels\n\n"
        f"{seconds:.0f} s, {images / seconds:.0f} images/s; {clock.busy:.0f} CPU seconds; mean "
        f"Dice {scores['dice'].mean():.3f}. {clock.told()}"
    )


def measure_turns(bench: Bench) -> str:
    """The node beside a loop that works out nothing but the Dice."""
    rows = [
        ("masks an image", "bare Dice, masks/s", "all scores, masks/s", "times as long (range)")
    ]
    for methods in (1, METHODS):
        inputs = bench.inputs(TURN, methods)
        clock = Clock(torch.device("cpu"))
        for turn in range(bench.rounds + 1):
            if turn == 1:
                clock.reset()  # the first is a warm-up
            with clock("bare"):
                _bare_dice(*inputs)
            with clock("node"):
                score_predictions(*inputs, metrics=[])
        bare, node = clock.seconds["bare"], clock.seconds["node"]
        ratios = [long / short for long, short in zip(node, bare, strict=True)]
        rates = [f"{TURN * methods / statistics.median(times):.0f}" for times in (bare, node)]
        ratio = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        rows.append((str(methods), *rates, ratio))
    return (
        f"## Beside a bare loop, {TURN} images\n\n{table(rows)}\n\n"
        f"Median of {bench.rounds} rounds. {clock.told()}"
    )


def _bare_dice(choices: pd.DataFrame, predictions: Loaders, truths: Loaders, _: Any) -> list[float]:
    scores = []
    for row in choices.itertuples():
        found, truth = predictions[row.prediction](), truths[row.image]()
        both = np.count_nonzero(found & truth)
        scores.append(2 * both / (np.count_nonzero(found) + np.count_nonzero(truth)))
    return scores


def measure_scores(bench: Bench) -> str:
    """Each score alone, nothing shared."""
    pairs = [bench.pair(number) for number in range(bench.distinct)]
    parts: dict[str, Callable[[Any, Any], Any]] = {
        "reading the two files": lambda *_: bench.pair(0),
        "Dice, recall, precision": lambda found, truth: masks.overlap_scores(found[None], truth),
        "clDice": lambda found, truth: masks.cldice(Geometry(found), Geometry(truth)),
        "HD95": lambda found, truth: masks.hd95(Geometry(found), Geometry(truth)),
        "regions": lambda found, truth: masks.components_error(Geometry(found), Geometry(truth)),
        "thin, thick": lambda found, truth: masks.recall_by_width(found, Geometry(truth)),
        "all, the skeleton shared": masks.mask_metrics,
    }
    rows = [("", "ms a mask")]
    for name, part in parts.items():
        times = []
        for found, truth in pairs:
            started = time.process_time()
            part(found, truth)
            times.append(time.process_time() - started)
        rows.append((name, f"{1e3 * statistics.mean(times):.2f}"))
    return f"## What scores cost, CPU time, mean of {len(pairs)} masks\n\n{table(rows)}"


def measure_comparison(_: Bench) -> str:
    """Leaderboard and verdict, with the statistics of the project's parameters."""
    from vesselrl.report.comparison import leaderboard
    from vesselrl.report.parameters import ReportParameters
    from vesselrl.report.verdict import verdict

    random = np.random.default_rng(0)
    settings = ReportParameters(**project_parameters()["report"])
    names = [settings.baseline, *(f"m{number}" for number in range(1, METHODS))]
    kinds = {name: {"kind": "policy" if name in names[-3:] else "static"} for name in names}
    rows = [("images", "seconds")]
    for images in COMPARED:
        scores = pd.DataFrame(
            random.uniform(0.6, 0.9, (METHODS * images, len(METRIC_COLUMNS))),
            columns=METRIC_COLUMNS,
        ).assign(method=np.repeat(names, images), seed=1, image=np.tile(np.arange(images), METHODS))
        scores["group"] = scores["image"]
        started = time.perf_counter()
        board = leaderboard(scores, kinds, settings, seed=0)
        verdict(scores, board, settings, seed=0)
        rows.append((f"{images:,}", f"{time.perf_counter() - started:.1f}"))
    return (
        f"## Leaderboard and verdict of {METHODS} methods, {settings.bootstrap_resamples:,} "
        f"resamples\n\n{table(rows)}"
    )


PARTS = {
    "few": measure_few, "many": measure_many, "turns": measure_turns, "scores": measure_scores,
    "comparison": measure_comparison,
}  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--distinct", type=int, default=40, help="images that are drawn")
    parser.add_argument("--size", type=int, default=512, help="side of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = vars(parser.parse_args())
    os.environ["OMP_NUM_THREADS"] = "1"
    parts = options.pop("parts")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(**options, folder=Path(folder))
        bench.draw()
        print(f"Device: {in_a_process(device_name)}.", flush=True)
        for part in parts:
            print(f"\n{in_a_process(PARTS[part], bench)}", flush=True)


if __name__ == "__main__":
    main()
