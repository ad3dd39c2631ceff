"""Progress of long work."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import RawArray
from threading import Event, Thread
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

LOG_EVERY = 600.0
"""Seconds between two lines of a log file, in which a bar would not be seen."""
LOOK_EVERY = 0.2
"""Seconds between looks at what other threads and processes have done."""

Item = TypeVar("Item")


def with_progress(
    makers: Mapping[str, Callable[[], Any]], title: str, unit: str = "image"
) -> dict[str, Callable[[], Any]]:
    """The same makers, which move a progress bar on as they are called."""
    from tqdm import tqdm

    if not makers:
        return {}
    bar = tqdm(total=len(makers), desc=title, unit=unit)

    def call(make: Callable[[], Any]) -> Any:
        made = make()
        bar.update()
        if bar.n == bar.total:
            bar.close()
        return made

    return {name: partial(call, make) for name, make in makers.items()}


def tracked(items: Iterable[Item], title: str, total: int, unit: str = "image") -> Iterator[Item]:
    """The same items, with a progress bar that tells the time left, and a line in the log at times.

    Args:
        items: as the work yields them.
        title: what to call the work.
        total: how many items there will be.
        unit: what an item is called.
    """
    from tqdm import tqdm

    if not total:
        return
    started = logged = time.monotonic()
    with tqdm(total=total, desc=title, unit=unit) as bar:
        for done, item in enumerate(items, 1):
            bar.update()
            now = time.monotonic()
            if now - logged >= LOG_EVERY:
                logged = now
                left = (now - started) / done * (total - done)
                logger.info(
                    "%s: %d of %d %ss, about %.1f h to go.", title, done, total, unit, left / 3600
                )
            yield item


class SharedProgress:
    """Steps made by trainings, in whichever process, as one progress bar.

    Args:
        names: of the trainings.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self._made: Any = RawArray("q", len(names))  # each has one writer: no lock to die with

    def tell(self, name: str, iteration: int) -> None:
        """Note how many steps a training has made."""
        self._made[self._places[name]] = iteration

    @contextmanager
    def shown(self, title: str, total: int) -> Iterator[None]:
        """Show the bar for as long as the trainings go on."""
        from tqdm import tqdm

        ended = Event()
        with tqdm(total=total, desc=title) as bar:

            def follow() -> None:
                while not ended.wait(LOOK_EVERY):
                    bar.update(sum(self._made) - bar.n)

            thread = Thread(target=follow, daemon=True)
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()
                bar.update(sum(self._made) - bar.n)
