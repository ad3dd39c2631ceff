"""From files of images to files of masks with a bundle, beside its networks alone.

    python benchmarks/bundle.py <bundle> <images> [--workers 16] [--device cuda] [--count 6000]

*Predicting* is `vesselrl.load_bundle(bundle).predict` in so many worker processes on one device,
each of which reads and decodes an image file, predicts, and encodes and writes the mask and the map
of expected errors as PNG; while one waits for the GPU, others use the processor. The images of the
folder are taken in turn until `--count` are done. The rate is that of the time in which all
processes are at work: start-up and end do not count.

*Bare* are the forward passes that `predict` made of the same images, repeated by one process with
their inputs on the device already and nothing else: one image after another, as `predict` needs
them; the same as one CUDA graph an image (on a GPU); and in batches of ``--batch`` images of one
size. Bare passes are measured before and after predicting, in the same run.

The masks of the worker processes are compared with those of one process, which must be the same to
the last pixel. Needs neither Kedro nor a project.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from measuring import device_name, in_a_process, read_image, table

import vesselrl
from vesselrl.annotations.png import png_of_image, png_of_mask
from vesselrl.workers import map_on_devices

if TYPE_CHECKING:
    import torch

    from vesselrl.prediction.predictor import Predictor

    Pass = tuple[torch.nn.Module, tuple[torch.Tensor, ...]]
    """A module and what it was asked about."""

CHUNK = 4
"""Images that a worker process is given at a time."""
BARE = 16
"""Images whose passes are repeated."""


class Work:
    """What a worker process does; each has a predictor of its own.

    Args:
        bundle: its path.
        out: where masks and maps go.
    """

    def __init__(self, bundle: str, out: Path) -> None:
        self._bundle = bundle
        self._out = out

    @cached_property
    def _predictor(self) -> "Predictor":
        import torch

        torch.set_num_threads(1)
        return vesselrl.load_bundle(self._bundle)

    def __call__(self, item: tuple[str, list[Path]]) -> tuple[int, int]:
        """Predict some images; by which process, and how many."""
        name, files = item
        for number, file in enumerate(files):
            made = self._predictor.predict(read_image(file))
            errors = np.rint(255 * made.error).astype(np.uint8)
            stem = f"{name}_{number}_{file.stem}"
            (self._out / f"{stem}.mask.png").write_bytes(png_of_mask(made.mask))
            (self._out / f"{stem}.error.png").write_bytes(png_of_image(errors))
        return os.getpid(), len(files)


def predicting(bundle: str, files: list[Path], count: int, devices: list[Any]) -> tuple[float, str]:
    """Images a second, and whether the masks are those of one process, in words."""
    turns = itertools.islice(itertools.cycle(files), count)
    chunks = [list(chunk) for chunk in iter(lambda: list(itertools.islice(turns, CHUNK)), [])]
    items = [(f"{number:06}", chunk) for number, chunk in enumerate(chunks)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        processes: set[int] = set()
        done = []
        for process, images in map_on_devices(Work(bundle, out), items, devices):
            processes.add(process)
            if len(processes) == len(devices):
                done.append((time.perf_counter(), images))
        during = done[: len(done) - len(devices)]  # then some have nothing left to do
        if len(during) < 2:
            raise SystemExit(f"{count} images are done before all processes work: more --count.")
        rate = sum(images for _, images in during[1:]) / (during[-1][0] - during[0][0])
        return rate, in_a_process(compare, bundle, out, files[:BARE], devices[0])


def compare(bundle: str, out: Path, files: list[Path], device: Any) -> str:
    """Whether the masks that were written are those that this process predicts."""
    on(device)
    predictor = vesselrl.load_bundle(bundle)
    pairs = 0
    for file in files:
        expected = png_of_mask(predictor.predict(read_image(file)).mask)
        for written in out.glob(f"*_{file.stem}.mask.png"):
            pairs += 1
            if written.read_bytes() != expected:
                return f"DIFFERENT masks ({written.name})"
    return f"{pairs} masks compared with those of one process: the same, bit for bit"


def on(device: Any) -> None:
    """Let this process see no GPU if it is to use the CPU."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def bare(bundle: str, files: list[Path], device: Any, batch: int, seconds: float) -> dict[str, Any]:
    """Images a second of the passes alone: way to make them → rate."""
    on(device)
    import torch

    torch.set_num_threads(1)
    predictor = vesselrl.load_bundle(bundle)
    images = [read_image(file) for file in files]
    predictor.predict(images[0])
    recorded = [recorded_passes(predictor, image) for image in images]
    with torch.inference_mode():
        ways = {"one by one": ([partial(repeat, passes) for passes in recorded], 1)}
        if torch.cuda.is_available():
            ways["one CUDA graph an image"] = ([graphed(passes) for passes in recorded], 1)
        same = of_one_size(recorded)
        ways[f"batches of {batch}"] = ([partial(repeat, batched(same, batch))], batch)
        return {
            "passes": len(recorded[0]),
            **{way: rate_of(calls, of_each, seconds) for way, (calls, of_each) in ways.items()},
        }


def recorded_passes(predictor: "Predictor", image: npt.NDArray[np.uint8]) -> "list[Pass]":
    """The outermost calls of modules while an image is predicted."""
    from torch.nn.modules import module as hooks

    found: list[Pass] = []
    depth = 0

    def before(module: Any, inputs: Any) -> None:
        nonlocal depth
        if depth == 0:
            found.append((module, tuple(one.clone() for one in inputs)))
        depth += 1

    def after(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    handles = [
        hooks.register_module_forward_pre_hook(before),
        hooks.register_module_forward_hook(after),
    ]
    try:
        predictor.predict(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def repeat(passes: "list[Pass]") -> None:
    """Make the passes, one after the other."""
    for module, inputs in passes:
        module(*inputs)


def graphed(passes: "list[Pass]") -> Callable[[], None]:
    """The passes as one CUDA graph."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        repeat(passes)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        repeat(passes)
    return graph.replay


def of_one_size(recorded: "list[list[Pass]]") -> "list[list[Pass]]":
    """The images whose passes are those that are most frequent, size for size."""
    alike: dict[Any, list[list[Pass]]] = defaultdict(list)
    for passes in recorded:
        alike[tuple((id(m), *(one.shape for one in inputs)) for m, inputs in passes)].append(passes)
    return max(alike.values(), key=len)


def batched(recorded: "list[list[Pass]]", batch: int) -> "list[Pass]":
    """The passes of several images at once."""
    import torch

    chosen = list(itertools.islice(itertools.cycle(recorded), batch))
    return [
        (calls[0][0], tuple(torch.cat(same) for same in zip(*(c[1] for c in calls), strict=True)))
        for calls in zip(*chosen, strict=True)
    ]


def rate_of(calls: list[Callable[[], None]], of_each: int, seconds: float) -> float:
    """Images a second when the calls are made in turn."""
    for call in calls:
        call()
    with waiting():
        started, images = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            for call in calls:
                call()
            images += of_each * len(calls)
            wait()
        return images / (time.perf_counter() - started)


@contextmanager
def waiting() -> Iterator[None]:
    """Begin and end with an idle GPU."""
    wait()
    yield
    wait()


def wait() -> None:
    """Until the GPU has done what it was asked."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle", help="folder or zip file")
    parser.add_argument("images", type=Path, help="folder of image files")
    parser.add_argument("--workers", type=int, default=16, help="processes")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--count", type=int, default=6000, help="images to predict")
    parser.add_argument("--batch", type=int, default=16, help="of the bare passes in batches")
    parser.add_argument("--seconds", type=float, default=5, help="that each way is measured for")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    device: Any = "cpu" if options.device == "cpu" else 0
    files = sorted(one for one in options.images.iterdir() if one.is_file())
    print(f"Device: {in_a_process(device_name)}.", flush=True)
    alone = partial(
        in_a_process, bare, options.bundle, files[:BARE], device, options.batch, options.seconds
    )
    before = alone()
    rate, same = predicting(options.bundle, files, options.count, [device] * options.workers)
    after = alone()
    rows = [("", "images/s", "predicting makes × as many")]
    rows += [(f"predicting, {options.workers} processes", f"{rate:.1f}", "")]
    for way in [name for name in before if name != "passes"]:
        both = statistics.mean([before[way], after[way]])
        told = f"{both:.1f} ({before[way]:.1f} before, {after[way]:.1f} after)"
        rows.append((f"bare, {way}", told, f"{rate / both:.2f}"))
    print(f"\n{table(rows)}\n\n{before['passes']} passes an image. {same}.")


if __name__ == "__main__":
    main()
