"""The speed of `ingest` beside a bare loop, its memory, and whether it survives being killed.

    python benchmarks/ingest.py [--images 20000] [--kills 10]

Draws 512 × 512 grey PNG files with eight polygons each into a temporary folder, then measures, each
in a process of its own:

- *bare masks*: for each image Pillow's decoding, Pillow's filling of the polygons and writing of
  the mask as PNG, nothing else, on one core;
- *bare both*: the same and writing the decoded image as PNG too, since `ingest` gives both (on a
  tenth of the images);
- `kedro run --pipeline ingest` without the start of Python, with 1 and 2 workers: all checks,
  hashes, splits, images, masks, tables and figures; then again with nothing changed.

Memory is the largest sum of the resident memory of a run's processes. *Cores* is how many cores a
run kept busy on average: less than its workers if others are at work on the machine. Killed runs
are compared with one that was not, file by file, logs and caches apart.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from measuring import PROJECT, hashes_of, table

SIDE = 512


def draw(number: int, folder: Path) -> dict[str, Any]:
    """Draw one image and make up its annotation."""
    import numpy as np
    from PIL import Image
    from scipy import ndimage

    random_ = np.random.default_rng(number)
    coarse = ndimage.zoom(random_.normal(0, 1, (36, 36)), SIDE / 36, order=3)
    image = 140 + 25 * coarse + random_.normal(0, 3, (SIDE, SIDE))  # tissue and noise
    name = f"p{number // 4:05}_f{number % 4}.png"
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name)
    polygons = []
    for x, y, width in random_.uniform((40, 40, 2), (350, 470, 6), (8, 3)):
        xs = x + np.linspace(0, 120, 15)
        ys = y + 20 * np.sin(xs / 25)
        sides = np.concatenate([np.c_[xs, ys - width], np.c_[xs, ys + width][::-1]])
        polygons.append(sides.round(1).ravel().tolist())
    return {"image": name, "mask": polygons}


def draw_all(count: int, folder: Path) -> None:
    """Draw a data set."""
    from vesselrl.parallel import ordered_map

    (folder / "images").mkdir(parents=True)
    entries = ordered_map(partial(draw, folder=folder / "images"), range(count))
    (folder / "annotations.json").write_text(json.dumps(list(entries)))


def run_bare_loop(raw_dir: Path, out_dir: Path, with_images: bool) -> None:
    """Decode, fill, write: what cannot be left out."""
    from PIL import Image, ImageDraw

    (out_dir / "images").mkdir(parents=True)
    (out_dir / "masks").mkdir()
    for entry in json.loads((raw_dir / "annotations.json").read_text()):
        with Image.open(raw_dir / "images" / entry["image"]) as image:
            image.load()
            mask = Image.new("L", image.size)
            canvas = ImageDraw.Draw(mask)
            for polygon in entry["mask"]:
                canvas.polygon(polygon, fill=255)
            mask.save(out_dir / "masks" / entry["image"])
            if with_images:
                image.save(out_dir / "images" / entry["image"])


def run_ingest(raw_dir: Path, out_dir: Path, workers: int) -> None:
    """Run the pipeline as ``kedro run`` does."""
    from kedro.framework.session import KedroSession

    from vesselrl.runner import SparingRunner

    paths = {"raw_dir": str(raw_dir), "out_dir": str(out_dir), "ingest": {"workers": workers}}
    with KedroSession.create(PROJECT, runtime_params=paths) as session:
        session.run(pipeline_names=["ingest"], runner=SparingRunner())


def measured(what: str, raw_dir: Path, out_dir: Path) -> None:
    """In a process of its own: do one thing and print the CPU time before it and its seconds."""
    if what.startswith("ingest"):
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(PROJECT)
        do = partial(run_ingest, raw_dir, out_dir, int(what[-1]))
    else:
        do = partial(run_bare_loop, raw_dir, out_dir, what == "bare both")
    before, started = time.process_time(), time.perf_counter()
    do()
    print(before, time.perf_counter() - started, flush=True)


@dataclass
class Measurement:
    """One run.

    Attributes:
        images: how many it went through.
        seconds: how long it took.
        cores: how many cores it kept busy on average.
        peak: the largest sum of resident memory, in MB.
    """

    images: int
    seconds: float
    cores: float
    peak: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


def start(what: str, raw_dir: Path, out_dir: Path) -> subprocess.Popen[str]:
    """Start a measurement in a session of its own; what it says of errors is in ``errors.txt``."""
    command = [sys.executable, __file__, "--measure", what, str(raw_dir), str(out_dir)]
    with (out_dir.parent / "errors.txt").open("w") as errors:
        return subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )


def measure(what: str, raw_dir: Path, out_dir: Path, count: int) -> Measurement:
    """Run one thing to its end."""
    process = start(what, raw_dir, out_dir)
    peak = 0.0
    busy: dict[int, float] = {}
    while process.poll() is None:
        now = dict(members(process.pid))
        peak = max(peak, sum(memory for memory, _ in now.values()))
        busy.update((number, seconds) for number, (_, seconds) in now.items())
        time.sleep(0.1)
    assert process.stdout is not None
    said = process.stdout.read()
    if process.returncode:
        errors = (out_dir.parent / "errors.txt").read_text()
        raise SystemExit(f"{what} failed: {said}{errors[-2000:]}")
    before, seconds = (float(word) for word in said.split()[-2:])
    return Measurement(count, seconds, (sum(busy.values()) - before) / seconds, peak)


def members(session: int) -> Iterator[tuple[int, tuple[float, float]]]:
    """The processes of a session, each with its resident memory in MB and CPU time in seconds."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session:
                pages = int((process / "statm").read_text().split()[1])
                times = (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
                memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
                seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
                yield int(process.name), (memory, seconds)
        except (OSError, IndexError):
            continue


def kill(process: subprocess.Popen[str], after: float) -> bool:
    """Kill a run, though not its workers; False if it ended before."""
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def contents(out_dir: Path) -> dict[str, str]:
    """Path → hash of every file, logs and caches apart."""
    files = (path for path in sorted(out_dir.rglob("*")) if path.is_file())
    return hashes_of(
        (path for path in files if path.relative_to(out_dir).parts[0] not in ("logs", "cache")),
        out_dir,
    )


def tell_kills(raw_dir: Path, folder: Path, count: int, kills: int) -> None:
    """Kill runs at random moments, run them again, and compare."""
    usual = measure("ingest 2", raw_dir, folder / "whole", count)
    expected = contents(folder / "whole")
    equal = killed = 0
    start_up = 2.0  # seconds before anything is written
    for number in range(kills):
        out_dir = folder / f"killed{number}"
        moment = start_up + random.Random(number).random() * usual.seconds
        killed += kill(start("ingest 2", raw_dir, out_dir), moment)
        measure("ingest 2", raw_dir, out_dir, count)
        equal += contents(out_dir) == expected
        shutil.rmtree(out_dir)
    print(
        f"\n{killed} runs on {count:,} images killed at random moments and run again: "
        f"{equal} of {kills} equal, file by file, to a run that was not killed."
    )


def tell_speed(images: int, folder: Path) -> None:
    """Measure and print everything but kills."""
    raw_dir, tenth = folder / "raw", folder / "tenth"
    some = images // 10
    runs = {
        "bare masks": measure("bare masks", raw_dir, folder / "bare", images),
        "bare both": measure("bare both", tenth, folder / "both", some),
        "ingest, 1 worker": measure("ingest 1", raw_dir, folder / "one", images),
        "ingest, 2 workers": measure("ingest 2", raw_dir, folder / "two", images),
        "ingest, 2 workers, again": measure("ingest 2", raw_dir, folder / "two", images),
        "ingest, 2 workers, a tenth": measure("ingest 2", tenth, folder / "few", some),
    }
    bare, both = runs["bare masks"].rate, runs["bare both"].rate
    rows = [
        ("run", "images", "seconds", "images/s", "× bare masks", "× bare both", "cores", "peak MB")
    ]
    for name, run in runs.items():
        rows.append(
            (
                name, f"{run.images:,}", f"{run.seconds:.1f}", f"{run.rate:.0f}",
                f"{run.rate / bare:.2f}", f"{run.rate / both:.2f}", f"{run.cores:.2f}",
                f"{run.peak:.0f}",
            )
        )  # fmt: skip
    print(table(rows))
    first, again = runs["ingest, 2 workers"], runs["ingest, 2 workers, again"]
    print(f"\nWith nothing changed: {first.seconds / again.seconds:.1f} times as fast.")
    memory = first.peak / runs["ingest, 2 workers, a tenth"].peak
    print(f"Peak memory on ten times as many images: {memory:.2f} times as much.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=0, help="how many runs on a tenth to kill")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, raw_dir, out_dir = options.measure
        measured(what, Path(raw_dir), Path(out_dir))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_all(options.images, folder / "raw")
        draw_all(options.images // 10, folder / "tenth")
        tell_speed(options.images, folder)
        if options.kills:
            tell_kills(folder / "tenth", folder, options.images // 10, options.kills)


if __name__ == "__main__":
    main()
