"""How long `kedro` commands take to start, beside an empty Kedro project in the same run.

    python benchmarks/startup.py [--rounds 9]

Makes an empty project in a temporary folder (`kedro new`, no tools, no example) and runs each
command in both projects in turn. The quickest of all rounds counts: others at work on the machine
only ever add to it. A first round, not counted, lets Python compile what it imports.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import PROJECT, table

COMMANDS = ("registry list", "run --help", "catalog describe-datasets")
GOAL = 1.5


def kedro(words: str, project: Path) -> float:
    """Seconds that a command takes from start to end."""
    compiling = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment = compiling | {"PYTHONPATH": str(project / "src"), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "kedro", *words.split()]
    started = time.perf_counter()
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


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
