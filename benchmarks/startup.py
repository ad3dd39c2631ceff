"""How long `kedro` commands take to start, beside an empty Kedro project in the same run.

    python benchmarks/startup.py [--rounds 9]

Makes an empty project in a temporary folder (`kedro new`, no tools, no example) and runs each
command in both projects in turn. Measured are seconds of a CPU, which depend little on others at
work on the machine, and of all rounds the fewest count. A first round, not counted, lets Python
compile what it imports.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import PROJECT, table

COMMANDS = ("registry list", "run --help", "catalog describe-datasets")
GOAL = 1.5


def kedro(words: str, project: Path) -> float:
    """Seconds of a CPU that a command takes."""
    compiling = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = compiling | {"PYTHONPATH": str(project / "src"), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "kedro", *words.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
        rows = [("command", "empty project, s", "vesselrl, s", "ratio")]
        for words in COMMANDS:
            times = [[kedro(words, project) for project in projects] for _ in range(rounds + 1)]
            empty, ours = map(min, zip(*times[1:], strict=True))
            rows.append((f"`kedro {words}`", f"{empty:.2f}", f"{ours:.2f}", f"{ours / empty:.2f}"))
        print(table(rows))
        print(f"The goal is a ratio of {GOAL} at most.")


if __name__ == "__main__":
    main()
