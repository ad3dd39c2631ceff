"""How `segment` and trainings scale over devices, and whether `segment` survives being killed.

    python benchmarks/scaling.py [--parts own segment ensemble data_parallel pixel_rl] [--quick]
                                 [--devices 0 1 2 3] [--images 40] [--repeats 50]
                                 [--batch 64] [--norm batch] [--members 2] [--seconds 8]

Without devices: all GPUs, or, where there are none, two processes on the CPU at a small size.
Each part compares one process on the first device with one on each, in the same run:

- *own*: the shipped segmenter of ``conf/base`` on drawn angiograms, in this process, beside a bare
  loop that asks the same and does nothing with the maps;
- *segment*: a U-Net with random weights stands in for a big segmenter: its encoder runs once an
  image, `--repeats` times over so that the GPU is what is waited for, its decoder once a prompt.
  The bare loop asks the same on the first device and does nothing with the maps.
  The rate is that of the middle three fifths of the files, so that start-up and the last images,
  when processes run out of work, do not count; the seconds are of everything. Then, each compared
  array by array with the run of one process, times apart: a run one of whose processes is killed;
  a run that is killed and started again; a run with one prompt more;
- *ensemble*: `--members` members of a reward network for each device, on one device side by side,
  on several each with its share;
- *data_parallel*: one network of `segmenter`, its `--batch` shared by the devices;
- *pixel_rl*: the same of RL on pixels.

Networks are those of ``conf/gpu`` on GPUs; ``--quick`` is small enough for two processes of a CPU.
"""

import argparse
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from measuring import (
    device_name,
    in_a_process,
    middle_rate,
    project_parameters,
    table,
    wait_for,
)
from training_rates import Size, tell_apart, tell_together

from vesselrl.devices import best_device
from vesselrl.segmenters import base
from vesselrl.segmenters.candidate_folder import CandidateFolder, PendingCandidates
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.synthetic.patients import draw_patients

PROMPTS = [f"prompt {number}" for number in range(11)]
TIMES = ("seconds", "gpu_mb")
REPEATS, WIDTH, ASKED = "SCALING_REPEATS", "SCALING_WIDTH", "SCALING_ASKED"
"""Variables of the environment, which worker processes inherit: size of the stand-in, and a file to
which it writes what it is asked."""


def block(inputs: int, outputs: int, stride: int = 1) -> torch.nn.Module:
    """Two convolutions."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(inputs, outputs, 3, stride, 1),
        torch.nn.GroupNorm(8, outputs),
        torch.nn.SiLU(),
        torch.nn.Conv2d(outputs, outputs, 3, 1, 1),
        torch.nn.GroupNorm(8, outputs),
        torch.nn.SiLU(),
    )


class StandIn(torch.nn.Module):
    """A promptable U-Net with random weights, the same in each process."""

    def __init__(self, parameters: SegmenterParameters) -> None:
        super().__init__()
        width, self.repeats = int(os.environ[WIDTH]), int(os.environ[REPEATS])
        torch.manual_seed(0)
        torch.backends.cudnn.deterministic = True
        self.first = block(1, width)
        self.down = torch.nn.ModuleList([block(width << i, width << i + 1, 2) for i in range(3)])
        self.up = torch.nn.ModuleList(
            [block((width << i) + (width << i + 1), width << i) for i in range(3)]
        )
        self.prompts = torch.nn.Embedding(99, width << 3)
        self.last = torch.nn.Conv2d(width, 1, 1)
        self.device = best_device()
        self.to(self.device).eval()
        self.encoder_passes = 0

    @torch.inference_mode()
    def probabilities(
        self, image: npt.NDArray[np.uint8], prompts: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """See `vesselrl.segmenters.base.Segmenter`."""
        if asked := os.environ.get(ASKED):
            with Path(asked).open("a") as stream:
                stream.write(f"{os.getpid()}\n")
        x = torch.from_numpy(image).to(self.device)[None, None] / 255
        with torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
            for _ in range(self.repeats):
                features = [self.first(x)]
                for down in self.down:
                    features.append(down(features[-1]))
            self.encoder_passes += 1
            maps = [self.decode(features, prompt) for prompt in prompts]
        return torch.stack(maps).float().cpu().numpy()

    def decode(self, features: list[torch.Tensor], prompt: str) -> torch.Tensor:
        """The map of one prompt, (H, W)."""
        number = torch.tensor(int(prompt.split()[1]), device=self.device)
        y = features[-1] * self.prompts(number)[:, None, None]
        for up, skip in zip(reversed(self.up), reversed(features[:-1]), strict=True):
            y = up(torch.cat([skip, torch.nn.functional.interpolate(y, scale_factor=2)], 1))
        return torch.sigmoid(self.last(y))[0, 0]


base._CLASSES["ridge"] = f"{__name__}:StandIn"  # in the worker processes too, which import this


def draw(seed: int, side: int) -> npt.NDArray[np.uint8]:
    """An image."""
    coarse = np.random.default_rng(seed).integers(0, 255, (side // 16, side // 16), dtype=np.uint8)
    return np.kron(coarse, np.ones((16, 16), np.uint8))


def make(
    folder: Path, images: int, side: int, devices: Sequence[Any] | None, prompts: int = 10
) -> None:
    """Make candidates with that many of the prompts."""
    setting = {"scales": [1], "fraction": 0.1, "min_size": 0}
    parameters = SegmenterParameters.model_validate(
        {
            "kind": "ridge",
            "default_prompt": PROMPTS[0],
            "max_side": 4096,
            "prompts": dict.fromkeys(PROMPTS[:prompts], setting),
            "devices": devices,
        }
    )
    loaders = {f"{seed:05}": partial(draw, seed, side) for seed in range(images)}
    CandidateFolder(folder).make(PendingCandidates(loaders, parameters))


def bare_rate(
    segmenter: base.Segmenter, images: Sequence[npt.NDArray[np.uint8]], prompts: Sequence[str]
) -> float:
    """Images a second of a loop that only asks, as `segment` does, in its middle three fifths."""
    ask = getattr(segmenter, "probability_levels", segmenter.probabilities)
    moments = []
    for image in images:
        ask(image, prompts)
        moments.append(time.perf_counter())
    return middle_rate(moments)


def bare_rate_of_the_stand_in(images: int, side: int) -> float:
    """The same of the stand-in."""
    stand_in = StandIn(SegmenterParameters.model_construct())
    return bare_rate(stand_in, [draw(seed, side) for seed in range(images)], PROMPTS[:10])


def tell_own(folder: Path, options: argparse.Namespace) -> str:
    """The shipped segmenter, whose maps are files, beside a loop that only asks it."""
    parameters = SegmenterParameters.model_validate(project_parameters()["segmenter"])
    prompts = list(parameters.prompts)
    drawn = draw_patients(0, min(options.images, 40), options.side)["images"]
    shown = [drawn[number % len(drawn)] for number in range(options.images)]
    rows = [("", "images/s", "× bare")]
    rates: list[float] = []
    for turn in range(3):
        bare = bare_rate(base.build_segmenter(parameters), shown, prompts)  # new, as that of a run
        out = folder / f"own{turn}"
        loaders = {f"{n:05}": partial(np.copy, image) for n, image in enumerate(shown)}
        CandidateFolder(out).make(PendingCandidates(loaders, parameters))
        rates.append(rate(out) / bare)
        rows += [
            ("bare loop", f"{bare:.1f}", ""),
            ("segment", f"{rate(out):.1f}", f"{rates[-1]:.2f}"),
        ]
    return (
        f"## own: {options.images} images of {options.side} × {options.side}, {len(prompts)} "
        f"prompts\n\n{table(rows)}\n\nMedian {statistics.median(rates):.2f}, goal: 0.8."
    )


def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    """Sample → name of an array → its bytes, times apart."""
    return {
        sample: {n: array.tobytes() for n, array in load().items() if n not in TIMES}
        for sample, load in CandidateFolder(folder).load().items()
    }


def equal(folder: Path, other: Path) -> str:
    """Whether two folders hold the same, in a word."""
    return "equal, bit for bit" if contents(folder) == contents(other) else "DIFFERENT"


def rate(folder: Path) -> float:
    """Files a second in the middle three fifths."""
    return middle_rate(file.stat().st_mtime for file in folder.glob("*.npz"))


def peak(folder: Path) -> str:
    """The most memory on one GPU, in MB, as text."""
    most = max(float(load()["gpu_mb"]) for load in CandidateFolder(folder).load().values())
    return "—" if np.isnan(most) else f"{most:.0f}"


def start(folder: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start a run on all devices in a process of its own."""
    command = [
        sys.executable, __file__, "--make", str(folder), "--images", str(options.images),
        "--side", str(options.side), "--width", str(options.width),
        "--repeats", str(options.repeats), "--devices", *map(str, options.devices),
    ]  # fmt: skip
    environment = os.environ | {ASKED: str(asked_in(folder))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def asked_in(folder: Path) -> Path:
    """The file that tells which processes asked the segmenter."""
    return folder.with_suffix(".asked")


def wait_until_half(folder: Path, run: subprocess.Popen[bytes], images: int) -> None:
    """Wait for half of the files."""
    wait_for(folder, images // 2, lambda: run.poll() is not None)


def tell_scaling(folder: Path, options: argparse.Namespace) -> None:
    """Compare one process with all."""
    rows = [
        ("processes", "seconds", "images/s", "× bare", "× one", "of ideal", "peak GPU MB", "maps")
    ]
    bare = in_a_process(bare_rate_of_the_stand_in, options.images, options.side)
    rows.append(("bare loop", "", f"{bare:.2f}", *[""] * 5))
    rates: list[float] = []
    for count in sorted({1, len(options.devices)}):
        out = folder / str(count)
        started = time.perf_counter()
        make(out, options.images, options.side, options.devices[:count] if count > 1 else None)
        seconds = time.perf_counter() - started
        rates.append(rate(out))
        gain = rates[-1] / rates[0]
        rows.append(
            (
                str(count), f"{seconds:.1f}", f"{rates[-1]:.2f}", f"{rates[-1] / bare:.2f}",
                f"{gain:.2f}", f"{gain / count:.2f}", peak(out), equal(out, folder / "1"),
            )
        )  # fmt: skip
    print(table(rows))


def tell_kills(folder: Path, options: argparse.Namespace) -> None:
    """Kill a process, then a run."""
    out = folder / "process_killed"
    run = start(out, options)
    wait_until_half(out, run, options.images)
    os.kill(int(asked_in(out).read_text().split()[-1]), signal.SIGKILL)
    run.wait()
    asked = len(asked_in(out).read_text().split())
    print(
        f"\nA process killed half-way: {asked} questions about {options.images} images, "
        f"exit code {run.returncode}, {equal(out, folder / '1')}."
    )
    out = folder / "run_killed"
    run = start(out, options)
    wait_until_half(out, run, options.images)
    run.kill()
    run.wait()
    time.sleep(1)  # its processes end
    there = len(list(out.glob("*.npz")))
    asked_in(out).unlink()
    start(out, options).wait()
    asked = len(asked_in(out).read_text().split())
    print(
        f"A run killed with {there} images finished and started again: {asked} asked, "
        f"{equal(out, folder / '1')}."
    )


def tell_new_prompt(folder: Path, options: argparse.Namespace) -> None:
    """Ask one prompt more, and all at once."""
    make(folder / "eleven", options.images, options.side, options.devices, 11)
    make(folder / "1", options.images, options.side, options.devices, 11)
    print(f"One prompt more: {equal(folder / '1', folder / 'eleven')} to all asked at once.")


def tell_segment(folder: Path, options: argparse.Namespace) -> str:
    """All about `segment`."""
    print(
        f"## segment: {options.images} images of {options.side} × {options.side}, 10 prompts\n",
        flush=True,
    )
    tell_scaling(folder, options)
    if len(options.devices) > 1:  # the images of a killed process go to another
        tell_kills(folder, options)
    tell_new_prompt(folder, options)
    return ""


def size_of(options: argparse.Namespace) -> Size:
    """Of the trainings."""
    features, downscale, patch = (32, 32, 64, 128, 256, 32), 1, 288
    if options.quick:
        features, downscale, patch = (8, 8, 16, 16, 16, 8), 2, 64
    return Size(
        features, downscale, options.norm, patch, options.batch, options.members, options.seconds
    )


PARTS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "own": tell_own,
    "segment": tell_segment,
    "ensemble": lambda folder, o: tell_apart(o.devices, size_of(o), folder),
    "data_parallel": lambda _, o: tell_together(o.devices, size_of(o), by_reward=False),
    "pixel_rl": lambda _, o: tell_together(o.devices, size_of(o), by_reward=True),
}


def main() -> None:
    """Read the command line."""
    gpus = torch.cuda.device_count()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", default=not gpus, help="small sizes")
    parser.add_argument("--devices", nargs="+", default=[*range(gpus)] or ["cpu", "cpu"])
    parser.add_argument("--images", type=int)
    parser.add_argument("--side", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--norm", choices=("batch", "instance"), default="batch")
    parser.add_argument("--members", type=int, default=2, help="of the ensemble, for each device")
    parser.add_argument("--seconds", type=float, help="that a rate of training is measured for")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = {"images": 40, "side": 512, "width": 64, "repeats": 50, "batch": 64, "seconds": 8.0}
    small = {"images": 40, "side": 64, "width": 8, "repeats": 120, "batch": 8, "seconds": 2.0}
    for name, size in (small if options.quick else sizes).items():
        setattr(options, name, getattr(options, name) or size)
    options.devices = [name if name == "cpu" else int(name) for name in options.devices]
    os.environ |= {REPEATS: str(options.repeats), WIDTH: str(options.width)}
    if options.make:
        make(options.make, options.images, options.side, options.devices)
        return
    logging.basicConfig(level=logging.WARNING)
    print(f"{in_a_process(device_name)}; devices {options.devices}.", flush=True)
    failed: list[str] = []
    for part in options.parts:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            try:
                told = PARTS[part](Path(name), options)
            except Exception:  # the other parts are worth their time
                failed.append(part)
                told = traceback.format_exc()
        print(f"\n{told}\n\n{part} took {time.perf_counter() - started:.0f} s.\n", flush=True)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
