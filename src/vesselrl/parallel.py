"""One function on many items over the cores of this machine: in order, and few at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from vesselrl.errors import VesselrlError

FEW = 64  # up to so many items are done sooner here than worker processes start
_CHUNK = 16  # items that a worker gets at a time
_AHEAD = 4  # chunks underway for each worker: enough that none waits, few enough for the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result, None, None]:
    """Apply a function to items in worker processes.

    Few items, or one worker, are done in this process, and nothing need be picklable then.

    Args:
        function: picklable; from a module that is quick to import.
        items: picklable; taken as they are needed, so that memory does not grow with their number.
        workers: the most processes; None is one for each core.

    Yields:
        The results, in the order of the items.

    Raises:
        VesselrlError: a worker process was killed.
        Exception: whatever the function raises, for the first item it fails on.
    """
    remaining = iter(items)
    first = list(islice(remaining, FEW + 1))
    count = workers or cores()
    if count == 1 or len(first) <= FEW:
        yield from map(function, chain(first, remaining))
        return
    pool = ProcessPoolExecutor(
        count, fresh_processes(function), initializer=live_and_die_with_the_parent
    )
    underway: deque[Future[list[Result]]] = deque()
    finished = False
    try:
        for chunk in _chunks(chain(first, remaining)):
            underway.append(pool.submit(_apply, function, chunk))
            if len(underway) >= _AHEAD * count:
                yield from underway.popleft().result()
        while underway:
            yield from underway.popleft().result()
        finished = True
    except BrokenProcessPool as error:
        raise VesselrlError(
            "A worker process was killed, perhaps for want of memory: run the command again, with "
            "--params ingest.workers=1 if it happens again."
        ) from error
    finally:
        if not finished:  # an orderly end could wait for ever for what Ctrl-C has cut short
            for worker in multiprocessing.active_children():
                worker.kill()
        pool.shutdown(wait=finished, cancel_futures=True)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, _CHUNK)):
        yield chunk


def _apply(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def fresh_processes(function: Callable[..., Any]) -> BaseContext:
    """Worker processes that share no threads or locks with this one, started quickly if possible.

    A fork server imports the main module and that of the function once; a spawned process imports
    them each time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", function.__module__])
    return context


def live_and_die_with_the_parent() -> None:
    """Leave Ctrl-C to the parent process, and end when it does, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
