"""Progress of work that whoever saves partitions does, one partition at a time."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


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
