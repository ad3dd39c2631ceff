"""Results that worker processes make ahead of whoever asks for them one by one."""

import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import cached_property, partial
from math import ceil
from typing import Any, Generic, TypeVar

from vesselrl.parallel import cores
from vesselrl.workers import Item, map_on_devices

WORTH_IT = 10.0
"""Seconds of work for which a worker process is started: for less it costs more than it saves."""
MOST = 16
"""Worker processes: this one, which loads for all, could not keep more of them busy."""
SHARED = "vesselrl.rl.setting_scores"
"""What the fork server imports, once in a run, for all workers that it will start: of what works
need, that which takes the most time and memory."""
_EARLY = 16
"""Results for each worker that may wait for one that is late: it is made here then."""

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


def made_ahead(
    work: Callable[[Loaded], Result],
    loaders: Mapping[str, Callable[[], Loaded]],
    order: Sequence[str] | None = None,
) -> dict[str, Callable[[], Result]]:
    """Makers of results, as Kedro saves them one by one, made over the cores of this machine.

    The first two are made in this process, and so are all others if that takes no longer. Whatever
    is loaded is loaded in this process, with its device, just before a worker has it.

    Args:
        work: picklable, and so are what it gets and gives; without a GPU in worker processes.
        loaders: name → loader of what is worked on.
        order: in which the results will be asked for; None: sorted by name, as `PartitionedDataset`
            does.

    Returns:
        Name → maker of the result, in that order. They are quick when they are called in it, each
        once; else each is made when it is called.
    """
    order = sorted(loaders) if order is None else order
    ahead = _Ahead(work, loaders, order)
    return {name: partial(ahead.take, name) for name in order}


def made_here(
    work: Callable[[Loaded], Result], loaders: Mapping[str, Callable[[], Loaded]]
) -> dict[str, Callable[[], Result]]:
    """The same for work that needs this process's device: each is made when it is called."""
    return {name: partial(_make, work, loaders[name]) for name in sorted(loaders)}


def _make(work: Callable[[Loaded], Result], load: Callable[[], Loaded]) -> Result:
    return work(load())


class _Ahead(Generic[Loaded, Result]):
    """The results to come, which are asked for by name."""

    def __init__(
        self,
        work: Callable[[Loaded], Result],
        loaders: Mapping[str, Callable[[], Loaded]],
        order: Sequence[str],
    ) -> None:
        self._work = work
        self._loaders = loaders
        self._to_come = deque(order)
        self._seconds: list[float] = []  # of each that was made here
        self._results: Generator[Result, None, None] | None = None

    def take(self, name: str) -> Result:
        if not self._to_come or name != self._to_come[0]:
            return self._work(self._loaders[name]())
        if self._results is None and (workers := self._workers()) > 1:
            items = [(one, self._loaders[one]) for one in self._to_come]
            self._results = _made(self._work, items, workers)
        self._to_come.popleft()
        if self._results is not None:
            return self._next(self._results)
        loaded = self._loaders[name]()
        started = time.perf_counter()
        result = self._work(loaded)
        self._seconds.append(time.perf_counter() - started)
        return result

    def _workers(self) -> int:
        """So many are worth it."""
        if len(self._seconds) != 2:  # the first one imports, and warms up
            return 0
        left = min(self._seconds) * len(self._to_come)
        return min(cores(), MOST, len(self._to_come), ceil(left / WORTH_IT))

    def _next(self, results: Generator[Result, None, None]) -> Result:
        try:
            return next(results)
        except BaseException:  # which has ended them: what is asked for all the same is made then
            self._to_come.clear()
            raise
        finally:
            if not self._to_come:  # else the workers would wait for more
                results.close()


def _made(
    work: Callable[[Loaded], Result], items: Sequence[Item[Callable[[], Loaded]]], workers: int
) -> Generator[Result, None, None]:
    """The results in order; those that come before their turn wait for it.

    It holds nothing that holds it: when nobody wants it any more its worker processes end at once.
    """
    loaders = dict(items)  # of those whose turn has not come
    early: dict[str, Result] = {}
    with closing(map_on_devices(_Named(work), items, ["cpu"] * workers, prepare=_loaded)) as done:
        for finished, result in done:
            if finished in loaders:
                early[finished] = result
            while early and (
                (name := next(iter(loaders))) in early or len(early) > _EARLY * workers
            ):
                load = loaders.pop(name)
                yield early.pop(name) if name in early else work(load())


def _loaded(item: Item[Callable[[], Any]]) -> Item[Any]:
    name, load = item
    return name, load()


class _Named(Generic[Loaded, Result]):
    """The work as worker processes do it: of an item with its name, to the result with it.

    It travels as bytes: multiprocessing would pass each tensor by a file descriptor.
    """

    def __init__(self, work: Callable[[Loaded], Result]) -> None:
        self._pickled = pickle.dumps(work)
        self.__module__ = SHARED  # see `vesselrl.parallel.fresh_processes`

    def __call__(self, item: Item[Loaded]) -> tuple[str, Result]:
        name, loaded = item
        return name, self._work(loaded)

    @cached_property
    def _work(self) -> Callable[[Loaded], Result]:
        work: Callable[[Loaded], Result] = pickle.loads(self._pickled)
        return work
