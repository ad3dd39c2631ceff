"""One piece of work on many items in this process: a GPU need not wait for files."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Generic, TypeVar

from vesselrl.parallel import cores

_LOADED = 2  # items that are loaded or being so while another is computed
_STORING = 8  # threads that write files, at most
_LONG = 0.1  # seconds
_PATIENCE = 0.01
"""Share of the time an item was computed, if that was long, in which its result may be waited for:
if another item is the last, or the process is killed, that is not lost for what takes a moment."""

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Computed = TypeVar("Computed")
Result = TypeVar("Result")


class Steps(ABC, Generic[Item, Loaded, Computed, Result]):
    """What is done with an item."""

    @abstractmethod
    def load(self, item: Item) -> Loaded:
        """Read what is needed."""

    @abstractmethod
    def compute(self, loaded: Loaded) -> Computed:
        """What the device does."""

    @abstractmethod
    def store(self, computed: Computed) -> Result:
        """Write what was made."""

    def __call__(self, item: Item) -> Result:
        """All steps of an item."""
        return self.store(self.compute(self.load(item)))


def overlapped(
    steps: Steps[Item, Loaded, Computed, Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Compute item by item in this thread; others load what comes next and store what was made.

    Args:
        steps: of each item; loads come one at a time, stores a few.
        items: taken as they are needed, so that memory does not grow with their number.

    Yields:
        The results, in the order of the items.

    Raises:
        Exception: whatever a step raises, once the results of all that was computed before have
            been yielded.
    """
    threads = min(_STORING, cores())
    loaded: deque[Future[Loaded]] = deque()
    stored: deque[Future[Result]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(1) as loading, ThreadPoolExecutor(threads) as storing:
        try:
            loaded.extend(loading.submit(steps.load, item) for item in islice(remaining, _LOADED))
            while loaded:
                started = time.perf_counter()
                computed = steps.compute(loaded.popleft().result())
                taken = time.perf_counter() - started
                stored.append(storing.submit(steps.store, computed))
                loaded.extend(loading.submit(steps.load, item) for item in islice(remaining, 1))
                if taken > _LONG:
                    wait([stored[0]], taken * _PATIENCE)
                while stored and (stored[0].done() or len(stored) > threads):
                    yield stored.popleft().result()
        except (Exception, KeyboardInterrupt):
            yield from (one.result() for one in stored)
            raise
        finally:
            loading.shutdown(cancel_futures=True)
        yield from (one.result() for one in stored)
