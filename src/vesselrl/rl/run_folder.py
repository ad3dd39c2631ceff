"""The folder a long training writes to while it runs: checkpoints and logs."""

import shutil
import time
from pathlib import Path

from vesselrl.checkpoints import Checkpoints
from vesselrl.files import unused
from vesselrl.seeds import SEEDS, place_of_seed

CHECKPOINTS = "checkpoints"
RESUME = f"{CHECKPOINTS}/resume"
STATE = "state"
"""Name of what is kept in `RESUME`."""
LOG = "logs/PPO_1"
KEPT = "previous"
FINAL, INFO = "final_model.zip", "training_info.json"
"""The first and the last of the files that are saved when all seeds are trained: of a policy."""


class RunFolder:
    """The folder of one experiment; the first seed owns its top level, others ``seeds/<n>``.

    Args:
        path: of the folder.
        final: name of the first of the files that are saved when all seeds are trained.
    """

    def __init__(self, path: Path, final: str = FINAL) -> None:
        self._path = path
        self._final = final

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._path.name

    def begin(self, fingerprint: str, resume: bool) -> None:
        """Make room for a run, or leave an interrupted one in place to go on with.

        A finished run moves to ``previous/<time>``, where the time is that at which it ended. An
        interrupted one stays if it is to be resumed and is of the same data and parameters; else it
        is removed.

        Args:
            fingerprint: of the data and the parameters of the run that begins.
            resume: whether an interrupted run is gone on with.
        """
        if not self._path.exists():
            return
        if resume and not (self._path / INFO).exists() and self._go_on(fingerprint):
            return
        final = self._path / self._final
        parts = [part for part in self._path.iterdir() if part.name != KEPT]
        if final.exists():
            ended = time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(final.stat().st_mtime))
            archive = unused(
                self._path / KEPT / ended, lambda folder: (folder / self._final).exists()
            )
            archive.mkdir(parents=True, exist_ok=True)
            # What tells that the run was finished goes last: until then it may be moved once more.
            for part in sorted(parts, key=lambda p: (p.name == INFO) + 2 * (p.name == self._final)):
                shutil.move(part, archive / part.name)
        else:
            for part in parts:
                shutil.rmtree(part) if part.is_dir() else part.unlink()

    def of_seed(self, seed: int, first: int) -> Path:
        """Where a seed writes, given which seed is the first listed."""
        return Path(place_of_seed(str(self._path), seed, first))

    def _go_on(self, fingerprint: str) -> bool:
        """Leave the seeds whose training can be gone on with; whether there are any."""
        states = {
            folder: Checkpoints(folder / RESUME).load(STATE, fingerprint)
            for folder in [self._path, *(self._path / SEEDS).glob("*")]
        }
        if all(state is None for state in states.values()):
            return False
        for folder, state in states.items():
            if state is None:
                for begun in (CHECKPOINTS, LOG):
                    shutil.rmtree(folder / begun, ignore_errors=True)
        for half_written in self._path.rglob(f"{CHECKPOINTS}/**/.*"):
            half_written.unlink()
        return True
