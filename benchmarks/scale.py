"""How time and memory of every stage grow with the number of images.

    python benchmarks/scale.py [--images 20000] [--side 128] [--env base]
                               [--stages ingest segment …] [--params rl.seeds=[42,43]] [--only-all]

Draws labelled images of many patients, and as many without labels for `predict`, into a temporary
folder, then runs each stage by ``kedro run --pipeline`` in a process of its own, first on a tenth
of the images (unless ``--only-all``), then on all. Trainings are those of the quick run, so that
what grows is the data; no split is cut short.

*Seconds* are from command to prompt, *CPU s* those of all processes together: they tell more where
other programs are at work. *Main* and *workers* are the largest resident memory of the command's
process and the largest sum of its child processes. Below each stage are those of its steps that
took longest: from one line of the log to the next, what a step saves included; several of one name,
as the trainings of the experiments, count together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
from measuring import PROJECT, device_name, in_a_process, table

STAGES = (
    "ingest", "segment", "segmenter", "reward_net", "experiments", "evaluation", "recipe",
    "report", "predict",
)  # fmt: skip
QUICK = "quick:true,split.max_images={train: null, val: null, test: null, unlabelled: null}"
DRAWINGS = 300
FRAMES = 8  # images of a patient
STEP = "kedro.pipeline.node: Running node: "


def draw(file: Path, side: int) -> None:
    """Draw angiograms and their masks, uint8 (N, 2, side, side), unless they are there."""
    from vesselrl.synthetic.patients import draw_patients

    if not file.exists():
        drawn = draw_patients(0, DRAWINGS, side)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack([drawn["images"], drawn["masks"]], axis=1))


def vary(number: int, drawings: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An image and its mask: a drawing, turned and shifted as its patient's, with noise."""
    patient, frame = divmod(number, FRAMES)
    random = np.random.default_rng([patient, 0])
    both, side = drawings[patient % len(drawings)], drawings.shape[-1]
    both = np.rot90(both, random.integers(4), axes=(1, 2))[:, :, :: random.choice((-1, 1))]
    shift = random.integers(0, side, 2) + frame
    image, mask = np.roll(both, shift, axis=(1, 2))
    noise = np.random.default_rng([number, 1]).normal(0, 3, image.shape)
    return np.stack([(image + noise).clip(0, 255).astype(np.uint8), mask])


def write(number: int, drawings: Path, folder: Path) -> dict[str, object]:
    """Write one image and put its vessels in words."""
    from PIL import Image

    from vesselrl.annotations.polygons import polygonise

    image, mask = vary(number, np.load(drawings, mmap_mode="r"))
    patient, frame = divmod(number, FRAMES)
    name = f"p{patient:05}_f{frame}.png"
    Image.fromarray(image).save(folder / name)
    return {"image": name, "mask": polygonise(mask > 0)}


def prepare(folder: Path, numbers: Iterable[int], drawings: Path) -> None:
    """Make a data set of the drawings, unless it is there."""
    from vesselrl.parallel import ordered_map

    if (folder / "annotations.json").exists():
        return
    (folder / "images").mkdir(parents=True, exist_ok=True)
    entries = ordered_map(partial(write, drawings=drawings, folder=folder / "images"), numbers)
    (folder / "annotations.json").write_text(json.dumps(list(entries)))


@dataclass
class Usage:
    """What something took.

    Attributes:
        seconds: how long.
        cpu: seconds that cores were busy with it, in all processes.
        main: largest resident memory of the main process, in MB.
        workers: largest sum of its child processes', in MB.
    """

    seconds: float
    cpu: float
    main: float
    workers: float

    def after(self, earlier: "Usage") -> "Usage":
        """This and something else before."""
        return Usage(
            self.seconds + earlier.seconds,
            self.cpu + earlier.cpu,
            max(self.main, earlier.main),
            max(self.workers, earlier.workers),
        )


@dataclass
class Watch:
    """Looks at a process and its children."""

    process: psutil.Process
    looks: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Of each: when, CPU seconds until then, MB of the main process and of its children."""
    _busy: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        """Look once."""
        memory = {}
        try:
            for process in [self.process, *self.process.children(recursive=True)]:
                with process.oneshot():
                    memory[process.pid] = process.memory_info().rss / 1e6
                    self._busy[process.pid] = sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            pass
        main = memory.pop(self.process.pid, 0.0)
        self.looks.append((time.time(), sum(self._busy.values()), main, sum(memory.values())))

    def usage(self, start: float, end: float) -> Usage:
        """From one moment to another."""
        times = [look[0] for look in self.looks]
        first, last = bisect(times, start), bisect(times, end)
        within = self.looks[max(0, first - 1) : last]
        return Usage(
            end - start,
            within[-1][1] - within[0][1],
            max(look[2] for look in within),
            max(look[3] for look in within),
        )


def run(stage: str, raw_dir: Path, new_dir: Path, out_dir: Path, env: str, params: str) -> Watch:
    """Run a stage to its end."""
    given = f"raw_dir={raw_dir},out_dir={out_dir},input_dir={new_dir}"
    command = [
        sys.executable, "-m", "kedro", "run", "--env", env, "--pipeline", stage,
        "--params", ",".join(filter(None, (given, QUICK, params))),
    ]  # fmt: skip
    said = out_dir.with_suffix(".txt")
    with said.open("w") as stream:
        kedro = subprocess.Popen(command, cwd=PROJECT, stdout=stream, stderr=subprocess.STDOUT)
        watch = Watch(psutil.Process(kedro.pid))
        while kedro.poll() is None:
            watch.look()
            time.sleep(0.1)
    if kedro.returncode:
        raise SystemExit(f"{stage} failed:\n{said.read_text()[-4000:]}")
    return watch


def steps_of(watch: Watch, out_dir: Path) -> dict[str, Usage]:
    """Usage of each step of a run, by its log; what comes before the first is ``start``."""
    log = max((out_dir / "quick" / "logs").glob("*.log"), key=lambda file: file.stat().st_mtime)
    begun = [("start", watch.looks[0][0])]
    for line in log.read_text().splitlines():
        moment, _, said = line.partition(" INFO ")
        if said.startswith(STEP):
            name = said.removeprefix(STEP).split(":")[0]
            begun.append((name, datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f").timestamp()))
    ends = [start for _, start in begun[1:]] + [watch.looks[-1][0]]
    steps: dict[str, Usage] = {}
    for (name, start), end in zip(begun, ends, strict=True):
        usage = watch.usage(start, end)
        steps[name] = usage.after(steps[name]) if name in steps else usage
    return steps


def row(name: str, usages: Sequence[Usage]) -> tuple[str, ...]:
    """A line of the table: of all images alone, or of a tenth of them before."""
    cells = [name]
    for busy in ([usage.seconds for usage in usages], [usage.cpu for usage in usages]):
        cells += [f"{seconds:.1f}" for seconds in busy]
        cells += [f"{busy[1] / max(busy[0], 0.1):.1f}"] if len(busy) > 1 else []
    cells += [f"{usage.main:.0f}" for usage in usages]
    return *cells, *(f"{usage.workers:.0f}" for usage in usages)


def head(counts: Sequence[int]) -> tuple[str, ...]:
    """The first line."""
    cells = ["stage and steps"]
    for what in ("s", "CPU s"):
        cells += [f"{what}, {count:,}" for count in counts] + ["×"] * (len(counts) - 1)
    return *cells, *(f"{what} MB, {count:,}" for what in ("main", "workers") for count in counts)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--only-all", action="store_true", help="not on a tenth of them before")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--env", default="base")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--params", default="", help="further ones, as kedro run takes them")
    parser.add_argument("--steps", type=int, default=5, help="so many of each stage")
    parser.add_argument("--folder", type=Path, help="keep what is made here; used again if there")
    options = parser.parse_args()
    counts = [options.images] if options.only_all else [options.images // 10, options.images]
    print(f"{in_a_process(device_name)}; {options.side} × {options.side} pixels.", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()  # runs start in the project
        draw(drawings := folder / f"drawings{options.side}.npy", options.side)
        for count in counts:
            prepare(folder / f"raw{count}", range(count), drawings)
            if "predict" in options.stages:
                prepare(folder / f"new{count}", range(count, 2 * count), drawings)
        print(table([head(counts)]), flush=True)
        for stage in options.stages:
            usages, details = [], []
            for count in counts:
                raw, new, out = (folder / f"{what}{count}" for what in ("raw", "new", "out"))
                watch = run(stage, raw, new / "images", out, options.env, options.params)
                usages.append(watch.usage(watch.looks[0][0], watch.looks[-1][0]))
                details.append(steps_of(watch, out))
            rows = [row(f"**{stage}**", usages)]
            common = [name for name in details[-1] if all(name in steps for steps in details)]
            common.sort(key=lambda name: -details[-1][name].seconds)
            rows += [row(name, [steps[name] for steps in details]) for name in common]
            told = table([head(counts), *rows[: options.steps + 1]]).splitlines()[2:]
            print("\n".join(told), flush=True)
        for count in counts:
            report = folder / f"out{count}" / "quick" / "08_reporting" / "final_report.html"
            if report.exists():
                print(f"\nThe report on {count:,} images: {report.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
