"""What a training draws from, kept near as far as memory goes."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

KEPT_BYTES = 2 * 2**30
"""Memory for what stays."""


class Sized(Protocol):
    """Anything that tells what memory it takes, as arrays and tensors do."""

    @property
    def nbytes(self) -> int:
        """Bytes."""


Item = TypeVar("Item", bound=Sized)


class Residents(Generic[Item]):
    """Items that are loaded when they are first asked for; the last ones used stay.

    Another process receives the loaders alone.

    Args:
        loaders: of each item, to where it is used, a device; by position or by name.
        kept_bytes: of all that stay; the last one used always does.
    """

    def __init__(
        self,
        loaders: Sequence[Callable[[], Item]] | Mapping[str, Callable[[], Item]],
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._loaders: Any = loaders
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[int | str, Item] = OrderedDict()  # the last one used is the last
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Residents, (self._loaders, self._kept_bytes)

    def __len__(self) -> int:
        return len(self._loaders)

    def __getitem__(self, place: int | str) -> Item:
        """The item at a position among the loaders, or of a name; threads may ask side by side."""
        with self._lock:
            item: Item | None = self._kept.pop(place, None)
            if item is None:
                item = self._loaders[place]()
                self._bytes += item.nbytes
            self._kept[place] = item
            while self._bytes > self._kept_bytes and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
            return item

    def forget(self) -> None:
        """Let all items go."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


class Part(Generic[Item]):
    """Some of the residents, by their positions."""

    def __init__(self, residents: Residents[Item], positions: Sequence[int]) -> None:
        self._residents = residents
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Item:
        """The item at a position among these."""
        return self._residents[self._positions[index]]
