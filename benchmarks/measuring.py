"""What benchmarks have in common: time, memory, the device, processes, runs, files, tables."""

import hashlib
import logging
import multiprocessing
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

PROJECT = Path(__file__).parents[1]
MAX_PIXELS = 50_000_000
"""Of images: those that benchmarks read are known to be no bombs."""
Result = TypeVar("Result")


@dataclass
class Clock:
    """Time spent in each of several things, and memory.

    Attributes:
        device: where the work is done; a GPU is waited for, as Python goes on ahead of it.
        seconds: name → seconds of each time.
        busy: CPU seconds of all of them.
        before: the process's largest resident memory until now, in MB.
    """

    device: "torch.device"
    seconds: dict[str, list[float]] = field(default_factory=dict)
    busy: float = 0.0
    before: float = field(init=False)

    def __post_init__(self) -> None:
        self.before = _peak_memory()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure what is within."""
        self._wait()
        started, busy = time.perf_counter(), time.process_time()
        yield
        self._wait()
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        self.busy += time.process_time() - busy

    def reset(self) -> None:
        """Forget the times: they were of a warm-up."""
        self.seconds.clear()
        self.busy = 0.0

    def told(self) -> str:
        """Cores and memory, in words."""
        import torch

        cores = self.busy / sum(map(sum, self.seconds.values()))
        text = f"Cores: {cores:.2f}. Peak memory {_peak_memory():.0f} MB"
        if self.device.type == "cuda":
            text += f"; of the GPU {torch.cuda.max_memory_allocated(self.device) / 1e6:.0f} MB"
        return f"{text}. Before, with all modules loaded: {self.before:.0f} MB."

    def _wait(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def _peak_memory() -> float:
    """This process's largest resident memory in MB (Linux; `resource` counts the parent's too)."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024 / 1e6
    return float("nan")


def device_name() -> str:
    """What computes, and with which PyTorch."""
    import torch

    from vesselrl.devices import best_device

    device = best_device()
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif (info := Path("/proc/cpuinfo")).exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name} ({device.type}), PyTorch {torch.__version__}"


def project_parameters(env: str | None = None, quick: bool = False) -> dict[str, Any]:
    """The parameters as a run would have them, but for ``conf/local``.

    Args:
        env: whose settings are folded over ``conf/base``; None is none.
        quick: fold ``quick_overrides`` in too.
    """
    logging.disable(logging.INFO)  # Kedro tells of its configuration
    from vesselrl.config_loader import ConfigLoader
    from vesselrl.overrides import resolve
    from vesselrl.settings import CONFIG_LOADER_ARGS

    env = env or str(CONFIG_LOADER_ARGS["base_env"])
    loader = ConfigLoader(str(PROJECT / "conf"), env, **CONFIG_LOADER_ARGS)
    return resolve(loader["parameters"], loader["globals"], {"quick": quick})[0]


def finished_run(
    raw_dir: Path,
    out_dir: Path,
    env: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """The context of a finished run, whose ``catalog`` has all that it left.

    Args:
        raw_dir: of the run.
        out_dir: likewise.
        env: likewise; None is ``conf/base``.
        parameters: others that it was given, nested.
    """
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(PROJECT)
    given = {**(parameters or {}), "raw_dir": str(raw_dir), "out_dir": str(out_dir)}
    return KedroSession.create(PROJECT, env=env, runtime_params=given).load_context()


def read_image(file: Path) -> "npt.NDArray[np.uint8]":
    """A file's image as ``predict`` gives it to a method."""
    from vesselrl.annotations.pictures import decode

    return decode(file.read_bytes(), MAX_PIXELS)


def hashes_of(files: Iterable[Path], folder: Path) -> dict[str, str]:
    """Path of each file relative to the folder → hash of its content."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def middle_rate(moments: Iterable[float]) -> float:
    """Results a second in the middle three fifths, given the moment of each."""
    ordered = sorted(moments)
    first, last = len(ordered) // 5, len(ordered) * 4 // 5
    return (last - first) / (ordered[last] - ordered[first])


def wait_for(folder: Path, count: int, is_over: Callable[[], bool]) -> None:
    """Wait for so many files in a folder of a run that is to be killed then."""
    while len(list(folder.glob("[!.]*"))) < count:
        if is_over():
            raise SystemExit("The run ended before it could be killed: try more images.")
        time.sleep(0.01)


def in_a_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a new process, whose memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * lines[0].count(" | ") + "---|", *lines[1:]])
