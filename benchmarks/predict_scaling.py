"""The speed of `predict` beside a bare loop, its memory, and whether it survives being killed.

    python benchmarks/predict_scaling.py [--images 10000] [--side 64] [--workers 2] [--env ridge]

Writes views of angiograms, which the generator of the embedded sample draws, into a temporary
folder, no two of them equal, then measures, each in a process of its own:

- *bare loop*: `Predictor.predict` on each of a tenth of the images, decoded, nothing written, in
  one process; first and last, and × *bare* is of their mean, as other programs may be at work;
- *predict*: the pipeline `predict`, all checks, hashes, masks, error maps, quality and annotations
  included, in one process;
- *predict on Ray*: the same with workers on this machine; its start included.

The method is the default prompt of the segmenter that `--env` names; the reward network that rates
its masks has random weights, which take as long as others. The rate is that of the middle three
fifths of the images, so that start-up does not count; the seconds are of everything, but for the
start of Python. Peak memory is that of the process itself and of the largest worker.

Then, each compared with the run in one process, file by file, times apart: a run on Ray one of
whose workers is killed; a run on Ray that is killed and started again.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from measuring import (
    PROJECT,
    device_name,
    hashes_of,
    middle_rate,
    project_parameters,
    read_image,
    table,
    wait_for,
)

DRAWN = 300
"""Angiograms that are drawn; the images are views of them."""
PREDICTIONS = Path("07_model_output/predict")
WORKER = "ray::_Worker"  # what Ray calls the processes


def vary(item: tuple[int, Any], side: int, folder: Path) -> None:
    """Write a view of an angiogram that no other is like: mirrored, a part of it, with noise."""
    import numpy as np
    from PIL import Image

    number, image = item
    rng = np.random.default_rng(number)
    down, right = rng.choice((-1, 1), 2)
    top, left = rng.integers(0, image.shape[0] - side + 1, 2)
    view = image[::down, ::right][top : top + side, left : left + side]
    noise = rng.integers(-2, 3, view.shape)
    varied = (view + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(varied).save(folder / f"{number:06}.png")


def draw_all(count: int, side: int, folder: Path) -> None:
    """Write all images, views of a few hundred angiograms: to draw one takes long."""
    from vesselrl.parallel import ordered_map
    from vesselrl.synthetic.patients import draw_patients

    folder.mkdir(parents=True)
    drawn = draw_patients(0, min(count, DRAWN), side + side // 8)["images"]
    items = ((number, drawn[number % len(drawn)]) for number in range(count))
    for _ in ordered_map(partial(vary, side=side, folder=folder), items):
        pass
    files = sorted(folder.iterdir())
    if len({*hashes_of(files, folder).values()}) < count:  # no cache may help
        raise SystemExit("Two of the images are equal: a larger --side leaves room for more.")


def recipe_of(parameters: dict[str, Any]) -> Any:
    """The default prompt, rated by a network that nobody trained."""
    from vesselrl.evaluation.parameters import Method
    from vesselrl.networks.architecture import Architecture
    from vesselrl.prediction.calibration import Calibration
    from vesselrl.prediction.recipe import Recipe
    from vesselrl.reward.network import RewardNetwork
    from vesselrl.reward.scoring import Scoring
    from vesselrl.rl.parameters import ActionParameters
    from vesselrl.segmenters.parameters import SegmenterParameters

    training = parameters["reward"]["training"]
    architecture = Architecture(2, tuple(training["features"]), training["downscale"])
    members = [architecture.build(seed).eval() for seed in range(training["members"])]
    side = parameters["reward"]["examples"]["max_side"]
    judge = RewardNetwork(members, architecture, side, Scoring("lower_bound", 0.5))
    return Recipe(
        "default", Method(kind="default"),
        SegmenterParameters.model_validate(parameters["segmenter"]),
        ActionParameters.model_validate(parameters["actions"]), ["dice", "recall"],
        None, None, None, None, None, judge.state(), Calibration.unknown(),
    )  # fmt: skip


def run_bare_loop(images: Path, parameters: dict[str, Any]) -> list[float]:
    """When each prediction was ready, the files read and decoded; seconds from the start."""
    from vesselrl.prediction.predictor import Predictor

    predictor = Predictor(recipe_of(parameters))
    started = time.perf_counter()
    ready = []
    for file in sorted(images.iterdir()):
        predictor.predict(read_image(file))
        ready.append(time.perf_counter() - started)
    return ready


def run_predict(images: Path, out_dir: Path, parameters: dict[str, Any], workers: int) -> float:
    """Seconds of the pipeline."""
    from kedro.io import DataCatalog
    from kedro.runner import SequentialRunner

    from vesselrl.annotations.parameters import AnnotationsParameters, IngestParameters
    from vesselrl.config_loader import ConfigLoader
    from vesselrl.distributed.parameters import RayParameters
    from vesselrl.pipelines.predict import create_pipeline
    from vesselrl.prediction.parameters import PredictParameters
    from vesselrl.report.parameters import ReportParameters
    from vesselrl.segmenters.parameters import SegmenterParameters
    from vesselrl.settings import CONFIG_LOADER_ARGS

    paths = {"input_dir": str(images), "out_dir": str(out_dir)}
    loader = ConfigLoader(str(PROJECT / "conf"), "base", paths, **CONFIG_LOADER_ARGS)
    pipeline = create_pipeline()
    entries = {name: e for name, e in loader["catalog"].items() if name in pipeline.datasets()}
    catalog = DataCatalog.from_config(entries)
    models = {
        "annotations": AnnotationsParameters, "ingest": IngestParameters,
        "predict": PredictParameters, "segmenter": SegmenterParameters, "ray": RayParameters,
        "report": ReportParameters,
    }  # fmt: skip
    parameters["ray"] |= {"num_workers": workers}
    for name, model in models.items():
        catalog[f"params:{name}"] = model.model_validate(parameters[name])
    catalog["params:pseudonymise"] = False
    catalog["recipe"] = recipe_of(parameters).state()
    started = time.perf_counter()
    SequentialRunner().run(pipeline, catalog)
    return time.perf_counter() - started


class Run:
    """A measurement in a process of its own, watched while it goes on."""

    def __init__(self, images: Path, out_dir: Path, env: str, workers: int | None) -> None:
        command = [
            sys.executable, __file__, "--measure", str(images), str(out_dir), "--env", env,
            "--workers", str(-1 if workers is None else workers),
        ]  # fmt: skip
        self.images = len(list(images.iterdir()))
        self.masks = out_dir / PREDICTIONS / "masks"
        self.process = psutil.Popen(
            command, env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.peak = self.peak_of_worker = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def workers(self) -> list[psutil.Process]:
        """The worker processes on Ray."""
        return [p for p in self.process.children(recursive=True) if WORKER in " ".join(p.cmdline())]

    def _watch(self) -> None:
        while self.process.poll() is None:
            try:
                self.peak = max(self.peak, self.process.memory_info().rss / 1e6)
                sizes = [worker.memory_info().rss / 1e6 for worker in self.workers()]
                self.peak_of_worker = max([self.peak_of_worker, *sizes])
            except psutil.Error:
                pass
            time.sleep(0.2)

    def finished(self) -> "Run":
        """The same when it has ended, with its `seconds`, and `ready` as it told them."""
        said = self.process.communicate()[0]
        if self.process.returncode:
            raise SystemExit(f"A run failed:\n{said[-3000:]}")
        self.ready = json.loads(said.splitlines()[-1])
        self.seconds = self.ready[-1]
        return self

    def wait_until_half(self) -> None:
        """Wait for half of the masks."""
        wait_for(self.masks, self.images // 2, lambda: self.process.poll() is not None)

    def rate(self) -> float:
        """Images a second, of the middle three fifths."""
        if not self.masks.is_dir():
            return middle_rate(self.ready)
        return middle_rate(file.stat().st_mtime for file in self.masks.iterdir())


def contents(out_dir: Path) -> dict[str, str]:
    """Path → hash of every file for the user; the seconds in tables and page are left out."""
    folder = out_dir / PREDICTIONS
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    timed = ("quality.csv", "review.html")
    for_users = (f for f in files if not f.name.startswith(".") and f.name not in timed)
    hashes = hashes_of(for_users, folder)
    with (folder / "quality.csv").open(newline="") as stream:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(stream)]
    return hashes | {"quality.csv": json.dumps(rows)}


def lines_of_journal(out_dir: Path) -> int:
    """How many times a prediction was put down."""
    return len((out_dir / PREDICTIONS / ".predictions.tsv").read_text().splitlines())


def equal(out_dir: Path, other: Path) -> str:
    """Whether two runs left the same, in a word."""
    return "equal" if contents(out_dir) == contents(other) else "DIFFERENT"


def tell_speed(folder: Path, options: argparse.Namespace) -> None:
    """Measure and print everything but kills."""
    env, workers = options.env, options.workers
    few, all_ = folder / "few", folder / "all"
    runs: dict[str, tuple[Run, Path]] = {}
    on_ray = [
        (f"predict on Ray, {workers} workers, a tenth", few, workers),
        (f"predict on Ray, {workers} workers", all_, workers),
    ]
    for name, images, count in (
        ("bare loop", few, None),
        ("predict, a tenth", few, 0),
        ("predict", all_, 0),
        *(on_ray if workers else ()),
        ("bare loop, again", few, None),
    ):
        out_dir = folder / name.replace(" ", "_")
        runs[name] = Run(images, out_dir, env, count).finished(), out_dir
        print(f"{name}: {runs[name][0].seconds:.1f} s", file=sys.stderr, flush=True)
    bare = (runs["bare loop"][0].rate() + runs["bare loop, again"][0].rate()) / 2
    rows = [("run", "images", "seconds", "images/s", "× bare", "peak MB", "of a worker", "files")]
    for name, (run, out_dir) in runs.items():
        one = folder / ("predict,_a_tenth" if "tenth" in name else "predict")
        rows.append(
            (
                name, f"{run.images:,}", f"{run.seconds:.1f}", f"{run.rate():.1f}",
                f"{run.rate() / bare:.2f}", f"{run.peak:.0f}",
                f"{run.peak_of_worker:.0f}" if run.peak_of_worker else "—",
                "—" if "bare" in name else equal(out_dir, one),
            )
        )  # fmt: skip
    print(table(rows))


def tell_kills(folder: Path, options: argparse.Namespace) -> None:
    """Kill a worker, then a run."""
    few, one = folder / "few", folder / "predict,_a_tenth"
    out_dir = folder / "worker_killed"
    run = Run(few, out_dir, options.env, options.workers)
    run.wait_until_half()
    run.workers()[0].kill()
    run.finished()
    print(
        f"\nA worker killed half-way: {equal(out_dir, one)}, "
        f"{lines_of_journal(out_dir)} predictions put down of {run.images} images."
    )
    out_dir = folder / "run_killed"
    run = Run(few, out_dir, options.env, options.workers)
    run.wait_until_half()
    started = run.process.children(recursive=True)
    run.process.kill()
    psutil.wait_procs(started, timeout=120)
    there = len(list(run.masks.iterdir()))
    Run(few, out_dir, options.env, options.workers).finished()
    print(f"A run killed with {there} masks there and started again: {equal(out_dir, one)}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="on Ray; 0: no Ray, no kills")
    parser.add_argument("--env", default="ridge", help="whose segmenter: ridge, base, sa2va")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        images, out_dir = options.measure
        parameters = project_parameters(options.env)
        if options.workers < 0:
            print(run_bare_loop(images, parameters))
        else:
            print([run_predict(images, out_dir, parameters, options.workers)])
        return
    print(
        f"{device_name()}; {options.images:,} images of {options.side} × {options.side}, "
        f"segmenter of conf/{options.env}.\n"
    )
    with tempfile.TemporaryDirectory() as name:
        draw_all(options.images, options.side, Path(name) / "all")
        draw_all(options.images // 10, options.side, Path(name) / "few")
        tell_speed(Path(name), options)
        if options.workers:
            tell_kills(Path(name), options)


if __name__ == "__main__":
    main()
