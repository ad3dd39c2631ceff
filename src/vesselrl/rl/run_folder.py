"""The folder a long training writes to while it runs: checkpoints and logs."""

import shutil
import time
from pathlib import Path

KEPT = "previous"
FINAL = "final_model.zip"


class RunFolder:
    """The folder of one experiment; the first seed owns its top level, others ``seeds/<n>``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._path.name

    def begin(self) -> None:
        """Make room for a new run: a finished one moves to ``previous/<time>``, a torso is removed.

        The time is that at which the earlier run ended.
        """
        if not self._path.exists():
            return
        final = self._path / FINAL
        parts = [part for part in self._path.iterdir() if part.name != KEPT]
        if final.exists():
            ended = time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(final.stat().st_mtime))
            archive = self._path / KEPT / ended
            archive.mkdir(parents=True, exist_ok=True)
            for part in parts:
                shutil.move(part, archive / part.name)
        else:
            for part in parts:
                shutil.rmtree(part) if part.is_dir() else part.unlink()

    def of_seed(self, seed: int, first: int) -> Path:
        """Where a seed writes, given which seed is the first listed."""
        return self._path if seed == first else self._path / "seeds" / str(seed)
