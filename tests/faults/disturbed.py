"""Runs of the real command that something befalls, and what they leave."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

HERE = Path(__file__).parent
OTHER = (
    "segmenter.prompts.thin branches.fraction=0.05,supervised.training.learning_rate=0.01,"
    "reward.training.learning_rate=0.02,rl.ppo.gamma=0.9"
)
"""Other parameters, of which some matter to every stage."""
FULL = r"The disk is full, or the quota used up \(.*\): make room there and run the command again\."
"""The sentence of a run on a full disk."""
LONGEST = 3600
"""Seconds that a run may take, on a busy machine too."""
TIMED = {"time/fps"}  # of the tags of a learning curve


class Runs:
    """Runs ``kedro run`` on one set of images, under `injected/sitecustomize.py`."""

    def __init__(self, project: Path, raw_dir: Path) -> None:
        self.project, self.raw_dir = project, raw_dir

    def start(self, out_dir, *words, params="", fault=None, clock=None, wrapper=(), **options):
        """A run in a process of its own, a member of the session that it leads.

        Args:
            out_dir: of the run.
            words: further words of the command.
            params: further ``--params``.
            fault: arguments of the injected fault, but for its folder.
            clock: ``start`` and ``speed`` of the injected clock.
            wrapper: words before the command.
            options: of `subprocess.Popen`.
        """
        python_path = [HERE / "injected", *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "PYTHONPATH": os.pathsep.join(map(str, python_path)),
        }
        if fault:
            environment["VESSELRL_FAULT"] = json.dumps({"folder": str(out_dir)} | fault)
        if clock:
            environment["VESSELRL_CLOCK"] = json.dumps(clock)
        given = f"raw_dir={self.raw_dir},out_dir={out_dir}" + f",{params}" * bool(params)
        return subprocess.Popen(
            [*wrapper, sys.executable, "-m", "kedro", "run", *words, "--params", given],
            cwd=self.project, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip

    def __call__(self, out_dir, *words, **options) -> "Ended":
        process = self.start(out_dir, *words, **options)
        said, _ = process.communicate(timeout=LONGEST)
        return Ended(process.returncode, said)


def predict(runs: Runs, out_dir: Path, **options) -> "Ended":
    """Predict the images that the run learned from, in every format."""
    images = f"input_dir={runs.raw_dir / 'images'},predict.formats=[labelme,coco]"
    return runs(out_dir, "--pipeline", "predict", params=images, **options)


class Ended:
    """How a run ended, and all that it said."""

    def __init__(self, code: int, said: str) -> None:
        self.code, self.said = code, said

    def require_success(self) -> "Ended":
        assert self.code == 0, self.said
        return self

    @property
    def error(self) -> str:
        """The one sentence of a run that failed."""
        assert self.code == 1, self.said
        assert "Traceback" not in self.said, self.said
        (sentence,) = re.findall(r"^Error: (.*)$", self.said, re.MULTILINE)
        return sentence


def content(out_dir: Path) -> dict[str, str]:
    """Hash of all that a run leaves, by its path: hidden files too, logs and archives left out.

    What holds times or addresses in memory is hashed without them: models and learning curves.
    """
    found: dict[str, str] = {}
    for path in sorted(out_dir.rglob("*")):
        name = path.relative_to(out_dir)
        if path.is_dir():
            if path.name == "PPO_1" and "previous" not in name.parts:
                found[str(name)] = _digest(_curves(path))
        elif name.parts[0] != "logs" and not {"previous", "PPO_1"} & set(name.parts):
            found[str(name)] = _digest(_reader(path)(path))
    return found


def _digest(value) -> str:
    data = value if isinstance(value, bytes) else repr(value).encode()
    return hashlib.sha256(data).hexdigest()


def _curves(folder: Path):
    log = EventAccumulator(str(folder))
    log.Reload()
    return {
        tag: [(event.step, event.value) for event in log.Scalars(tag)]
        for tag in sorted(log.Tags()["scalars"])
        if tag not in TIMED
    }


def _model(path: Path):
    with zipfile.ZipFile(path) as archive:
        weights = [archive.read(name) for name in sorted(archive.namelist()) if ".pth" in name]
        return weights, json.loads(archive.read("data"))["deployment"]


def _state(path: Path):
    saved = torch.load(path, weights_only=True)
    del saved["state"]["log"]  # names of files, with times
    return _plain(saved)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _reader(path: Path):
    return {".zip": _model}.get(
        path.suffix, _state if path.name == "state.pth" else Path.read_bytes
    )


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is missing, what is there beside, and what has another content."""
    return [
        f"{name}: " + ("missing" if name not in found else
                       "not expected" if name not in expected else "other content")
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]  # fmt: skip
