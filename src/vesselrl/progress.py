"""Progress of long work."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

LOG_EVERY = 600.0
"""Seconds between two lines of a log file, in which a bar would not be seen."""

Item = TypeVar("Item")


def with_progress(
    makers: Mapping[str, Callable[[], Any]], title: str, unit: str = "image"
) -> dict[str, Callable[[], Any]]:
    """The same makers, which move a progress bar on as they are called."""
    from tqdm import tqdm

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
