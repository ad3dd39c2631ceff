"""What images without label are worth: labels of a few, and RL on the segmenter's weights.

    python benchmarks/few_labels.py run data/mine results [--labels 5 10 25 50] [--draws 3]
                                    [--gpus 4] [--together 2] [--env gpu] [--params key=value ...]
    python benchmarks/few_labels.py table results

Of a labelled data set with its own ``splits.json`` and ``groups.json`` a few training images keep
their label, chosen by whole groups, the others give theirs up. On each draw of labels the pipelines
``segmenter`` and ``pixel_rl`` train as a user's would; then RL is done again with other starts and
rewards, one of them the truth, which no user has. All methods are scored on the same test images,
cut at 0.5 and where the validation images score best: a method that only makes masks larger gains
nothing by that. Validation images keep their labels: those choose weights, calibrate the reward and
set the cuts, of all methods alike. Draws are averaged image by image, intervals resample whole
groups.

A draw or stage that is finished is not made again. Look at the table of a data set's test images
once.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from measuring import PROJECT

RIVALS = ("supervised", "fold_ensemble_tta", "distilled", "refine")
"""Differences are measured from these."""


def draw_labels(data: Path, raw: Path, labels: int, draw: int) -> None:
    """Write a data set of which only so many training images have a label, by whole groups."""
    import numpy as np

    splits = json.loads((data / "splits.json").read_text())
    groups = json.loads((data / "groups.json").read_text())
    training = sorted(name for name, split in splits.items() if split == "train")
    order = np.random.default_rng([draw, labels]).permutation(
        sorted({groups[name] for name in training})
    )
    place = {group: number for number, group in enumerate(order.tolist())}
    for name in sorted(training, key=lambda name: (place[groups[name]], name))[labels:]:
        splits[name] = "unlabelled"
    begun = raw.with_suffix(".part")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(parents=True)
    for part in ("images", "annotations.json", "groups.json"):
        (begun / part).symlink_to((data / part).resolve())
    (begun / "splits.json").write_text(json.dumps(splits))
    begun.rename(raw)


def kedro(
    pipeline: str, raw: Path, out: Path, environment: str, params: list[str], device: str
) -> None:
    """Run a pipeline as a user does."""
    given = ",".join([f"raw_dir={raw}", f"out_dir={out}", *params])
    command = [sys.executable, "-m", "kedro", "run", "--env", environment]
    subprocess.run(
        [*command, "--pipeline", pipeline, "--params", given],
        check=True,
        cwd=PROJECT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": device},
    )


def run(args: argparse.Namespace) -> None:
    """Train and score every draw that is not finished, so many side by side on each GPU."""
    kedro("ingest", args.data, args.out / "all", args.env, args.params, "")
    devices: Queue[str] = Queue()
    for number in range(args.gpus * args.together):
        devices.put(str(number % args.gpus))

    def one(labels: int, draw: int) -> None:
        name = f"{labels}_labels_{draw}"
        raw, device, started = args.out / "raw" / name, devices.get(), time.time()
        params = [f"seed={draw}", f"pixel_rl.seeds=[{draw}]", *args.params]
        try:
            if not (args.out / f"{name}.csv").exists():
                if not raw.exists():
                    draw_labels(args.data, raw, labels, draw)
                for stage in ("segmenter", "pixel_rl"):
                    finished = args.out / name / f"{stage}.finished"
                    if not finished.exists():
                        kedro(stage, raw, args.out / name, args.env, params, device)
                        finished.touch()
                command = [sys.executable, str(Path(__file__).with_name("few_labels_scores.py"))]
                given = [str(args.out), name, str(args.data), args.env, *params]
                environment = os.environ | {"CUDA_VISIBLE_DEVICES": device}
                subprocess.run([*command, *given], check=True, env=environment)
        finally:
            devices.put(device)
        print(f"{name}: {time.time() - started:.0f} s", flush=True)

    with ThreadPoolExecutor(args.gpus * args.together) as pool:
        jobs = [pool.submit(one, n, draw) for draw in range(args.draws) for n in args.labels]
        for job in jobs:
            job.result()


def table(out: Path) -> None:
    """Means of each method, and differences to the rivals, for each number of labels and pooled."""
    import pandas as pd

    from vesselrl.metrics.statistics import paired_difference

    parts = []
    for file in sorted(out.glob("*_labels_*.csv")):
        labels, draw = file.stem.split("_labels_")
        parts.append(pd.read_csv(file).assign(labels=int(labels), draw=draw))
    if not parts:
        raise SystemExit(
            f"No draw is finished in {out}: there is no <labels>_labels_<draw>.csv. Name the "
            "folder that benchmarks/few_labels.py run wrote to, or run it first."
        )
    every = pd.concat(parts)
    numbers: list[Any] = sorted(every["labels"].unique())
    print("Draws:", every.groupby("labels")["draw"].nunique().to_dict())
    scores = [name for name in every if name.startswith(("dice", "recall", "objective"))]
    print((100 * every.groupby(["labels", "method"])[scores].mean()).round(2).to_string())
    for score in ("dice_at_half", "objective_at_best"):
        for chosen in [*([n] for n in numbers), *([numbers] if len(numbers) > 1 else [])]:
            of_chosen = every[every["labels"].isin(chosen)]
            wide = of_chosen.set_index(["labels", "draw", "image", "group", "method"])[
                score
            ].unstack()
            for rival in RIVALS:
                print(f"\n{score}, points above {rival}, labels {', '.join(map(str, chosen))}")
                for method in wide.columns.drop(rival):
                    gap = (wide[method] - wide[rival]).dropna()  # some methods are not in all draws
                    d = paired_difference(gap, gap.index.get_level_values("group"))
                    print(
                        f"  {method:26} {100 * d.mean:+.2f} "
                        f"[{100 * d.low:+.2f}, {100 * d.high:+.2f}] p {d.p_value:.3f}"
                    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("table").add_argument("out", type=Path)
    training = commands.add_parser("run")
    training.add_argument("data", type=Path)
    training.add_argument("out", type=Path)
    training.add_argument("--labels", type=int, nargs="+", default=[5, 10, 25, 50])
    training.add_argument("--draws", type=int, default=3)
    training.add_argument("--gpus", type=int, default=1)
    training.add_argument("--together", type=int, default=1, help="side by side on each GPU")
    training.add_argument("--env", default="gpu", help="of the configuration; base for a CPU")
    training.add_argument("--params", nargs="*", default=[], help="more parameters, key=value")
    args = parser.parse_args()
    if args.what == "table":
        table(args.out)
    else:
        args.data, args.out = args.data.resolve(), args.out.resolve()
        run(args)


if __name__ == "__main__":
    main()
