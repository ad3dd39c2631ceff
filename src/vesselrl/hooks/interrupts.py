"""Ctrl-C is heard, whoever drops it."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kedro.framework.hooks import hook_impl

_came = threading.Event()


@contextmanager
def listening() -> Iterator[None]:
    """Remember each Ctrl-C that comes meanwhile, and raise those again that Python drops.

    It drops one that comes while it lets go of an object, as of the lock of each import.
    """
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    usual = sys.unraisablehook
    try:
        if is_usual:  # rather than ignored, or another's
            signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _raise_again
        yield
    finally:
        sys.unraisablehook = usual
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _came.clear()  # of this run: the next one of this process is not to stop


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.set()
    signal.default_int_handler(number, frame)


def _raise_again(dropped: Any) -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        # threading.Thread takes locks, which the main thread may hold at this moment
        _thread.start_new_thread(_interrupt_soon, ())
    else:
        sys.__unraisablehook__(dropped)


def _interrupt_soon() -> None:
    time.sleep(0.01)  # until the main thread is out of what dropped it
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # which also ends its waiting
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class InterruptHooks:
    """Stops a run between two steps where a library took Ctrl-C for an error of its own.

    fsspec does, which kedro-viz asks how large each file is: of any error, it makes that there is
    no such file.
    """

    @hook_impl
    def before_dataset_loaded(self) -> None:
        """Stop before anything is read."""
        self._stop()

    @hook_impl
    def before_node_run(self) -> None:
        """Stop before anything is computed."""
        self._stop()

    @hook_impl
    def after_dataset_saved(self) -> None:
        """Stop before what was written counts as finished."""
        self._stop()

    def _stop(self) -> None:
        if _came.is_set():
            raise KeyboardInterrupt
