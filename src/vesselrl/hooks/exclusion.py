"""One run at a time writes to an output folder."""

import atexit
import contextlib
import os
import time
from pathlib import Path
from typing import IO, Any

from kedro.framework.hooks import hook_impl

from vesselrl.errors import VesselrlError
from vesselrl.files import LOCK, remove_unfinished
from vesselrl.hooks.contents import out_dir_of

try:
    import fcntl
except ImportError:  # Windows, where runs are not kept apart
    fcntl = None  # type: ignore[assignment]


class ExclusionHooks:
    """Refuses a run whose output folder another one is writing to.

    While a run lasts, the system holds a lock on ``<out_dir>/.vesselrl.lock`` for it, and gives it
    up when the process ends, however it ends. The file goes with an orderly end; one that is there,
    and not locked, is of a run that was killed, and what that left half-written is removed. Where
    the system has no locks runs are not kept apart, and nothing is removed: it may be of a run that
    goes on.
    """

    def __init__(self) -> None:
        self._held: tuple[Path, IO[str], bool] | None = None
        atexit.register(self._abandon)

    @hook_impl
    def before_pipeline_run(self, catalog: Any) -> None:
        """Take the folder, or stop."""
        self._abandon()  # a run that was interrupted in this process may have left its own
        out_dir = out_dir_of(catalog)
        file = out_dir / LOCK
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
            is_left = file.exists()
            stream, is_alone = _locked(file)
        except OSError as error:
            raise VesselrlError(
                f"Nothing can be written to {out_dir} ({error.strerror}): give another out_dir, or "
                "see to it that you may."
            ) from error
        self._held = file, stream, is_alone
        if is_left and is_alone:
            remove_unfinished(out_dir)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """The folder is free."""
        self._release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """The folder is free."""
        self._release()

    def _abandon(self) -> None:
        """Tidy up after a run that was interrupted, if there was one: Kedro tells no hook of it."""
        if self._held:
            file, _, is_alone = self._held
            if is_alone:
                remove_unfinished(file.parent)
        self._release()

    def _release(self) -> None:
        if self._held:
            file, stream, _ = self._held
            self._held = None
            with stream, contextlib.suppress(OSError):  # of a folder that has gone meanwhile
                file.unlink()


def _locked(file: Path) -> tuple[IO[str], bool]:
    """The lock's file, opened and locked, and whether that keeps others out.

    Raises:
        VesselrlError: another process holds it.
    """
    while True:
        stream = file.open("a+", encoding="utf-8")
        try:
            is_alone = _lock(stream)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            stream.close()
            raise VesselrlError(
                f"Another run is writing to {file.parent} ({holder}): wait until it has ended, or "
                "give another out_dir."
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                break
        stream.close()  # its holder ended, and removed it, between our opening and locking it
    stream.truncate(0)
    stream.write(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    stream.flush()
    return stream, is_alone


def _lock(stream: IO[str]) -> bool:
    """Lock a file; False where there are no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # of the file system, which has none
            pass
        else:
            return True
    return False
