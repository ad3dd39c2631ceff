"""A table that outlives a run that is killed: what was added before is there after."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from vesselrl.files import write_atomically


class Journal:
    """A mapping of names to JSON values, kept in a file of one line for each.

    Lines are appended as they come. One that was being written when a run was killed is ignored, as
    is any other that was not written so; of several lines of one name the last holds. Use it as a
    context manager to add to it.

    A line is the name, a tab and the value; names that hold what is not printable are quoted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[str] | None = None
        self._values: dict[str, str] = {}  # both as in the file, which takes the least memory
        self._is_tidy = True
        if path.is_file():
            self._read()

    def _read(self) -> None:
        with self._path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                name, tab, value = line.partition("\t")
                is_whole = bool(tab) and value.endswith("\n") and _is_name(name)
                self._is_tidy &= is_whole and name not in self._values
                if is_whole:
                    self._values[name] = value[:-1]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return map(_unquoted, self._values)

    def get(self, name: str) -> Any:
        """The value of a name; None where there is none, or none that can be read."""
        try:
            return json.loads(self._values[_quoted(name)])
        except (KeyError, ValueError, RecursionError):
            return None

    def add(self, name: str, value: Any) -> None:
        """Note the value of a name, at once on disk."""
        if self._stream is None:
            self.keep(list(self))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("a", buffering=1, encoding="utf-8")
        name = _quoted(name)
        self._is_tidy &= name not in self._values
        self._values[name] = json.dumps(value)
        self._stream.write(f"{name}\t{self._values[name]}\n")

    def keep(self, names: Iterable[str]) -> None:
        """Forget all but these names; the file has them in this order then."""
        quoted = map(_quoted, names)
        kept = {name: self._values[name] for name in quoted if name in self._values}
        if self._is_tidy and list(kept) == list(self._values):
            return
        self.close()
        text = "".join(f"{name}\t{value}\n" for name, value in kept.items())
        write_atomically(self._path, lambda stream: stream.write(text.encode()))
        self._values, self._is_tidy = kept, True

    def close(self) -> None:
        """Close the file; adding to it opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _quoted(name: str) -> str:
    return name if name.isprintable() and not name.startswith('"') else json.dumps(name)


def _unquoted(name: str) -> str:
    return str(json.loads(name)) if name.startswith('"') else name


def _is_name(name: str) -> bool:
    """Whether a name is written as `_quoted` writes it."""
    try:
        return _quoted(_unquoted(name)) == name
    except (ValueError, RecursionError):
        return False
