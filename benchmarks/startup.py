"""How long `kedro` commands take to start, beside an empty Kedro project in the same run.

    python benchmarks/startup.py [--rounds 9]

Makes an empty project in a temporary folder (`kedro new`, no tools, no example) and runs each
command in both projects in turn. Of all rounds the fewest seconds count. The ratio is that of
seconds of a CPU, which depend less on others at work on the machine than those that pass. A first
round, not counted, lets Python compile what it imports.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import PROJECT, table

COMMANDS = (
    "registry list",
    "run --help",
    "catalog list-patterns",
    "catalog resolve-patterns",
    "catalog describe-datasets",
)
GOAL = 1.5


def kedro(words: str, project: Path) -> tuple[float, float]:
    """Seconds of a CPU that a command takes, and seconds that pass."""
    compiling = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = compiling | {"PYTHONPATH": str(project / "src"), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "kedro", *words.split()]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - begin


def empty_project(folder: Path) -> Path:
    """A new Kedro project without pipelines."""
    kedro("new --name empty --tools none --example n --telemetry no", folder)
    return folder / "empty"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        projects = (empty_project(Path(folder)), PROJECT)
        heads = ("empty project", "vesselrl")
        rows = [("command", *(f"{h}, CPU s" for h in heads), "ratio", *(f"{h}, s" for h in heads))]
        for words in COMMANDS:
            times = [[kedro(words, project) for project in projects] for _ in range(rounds + 1)]
            empty, ours = (
                [min(s) for s in zip(*of, strict=True)] for of in zip(*times[1:], strict=True)
            )
            rows.append(
                (f"`kedro {words}`", f"{empty[0]:.2f}", f"{ours[0]:.2f}",
                 f"{ours[0] / empty[0]:.2f}", f"{empty[1]:.2f}", f"{ours[1]:.2f}")
            )  # fmt: skip
        print(table(rows))
        print(f"The goal is a ratio of {GOAL} at most.")


if __name__ == "__main__":
    main()
