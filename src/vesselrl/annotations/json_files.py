"""JSON files, read whole or item by item, with errors a person can act on.

Whole, a file of polygons takes about six times its size in memory; so files that are read whole
have a limit. A list at the top of a file is read item by item in as much memory as its longest
item takes, whatever the size of the file. NaN and Infinity are read as floats.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from vesselrl.errors import VesselrlError

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_CHUNK = 2**20
_LONGEST = 2**26
_MARGIN = 16  # longer than what is cut within a number, a name such as -Infinity, or an escape


def read_json(path: Path, max_mb: float) -> Any:
    """The content of a file, read whole.

    Raises:
        VesselrlError: the file is larger than the limit, unreadable or not JSON.
    """
    try:
        size = path.stat().st_size / 1e6
        if size > max_mb:
            raise VesselrlError(
                f"{path} has {size:,.0f} MB, more than the limit of {max_mb:,g} MB for JSON that "
                "is read whole, which takes about six times its size in memory: split the file, "
                "write it as a list of entries, which is read one by one, or raise "
                "annotations.max_json_mb."
            )
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


def first_character(path: Path) -> str:
    """The first character that is no space; empty where there is none.

    Raises:
        VesselrlError: the file is unreadable or no text.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            while chunk := stream.read(_CHUNK):
                if text := chunk.lstrip(" \t\n\r"):
                    return text[0]
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return ""


def stream_list(path: Path) -> Iterator[Any]:
    """The items of the list that a file holds, one after the other.

    Raises:
        VesselrlError: at the item where the file stops being a JSON list, is cut or unreadable.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            yield from _ListReader(stream, path).items()
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error


class _ListReader:
    """Decodes the items of a list from a buffer that slides over the text."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._buffer = ""
        self._position = 0
        self._lines_before = 0
        self._number = 0

    def items(self) -> Iterator[Any]:
        if self._take() != "[":
            raise self._error("expected '[' at the start", 0)
        if self._peek() == "]":
            self._position += 1
        else:
            while True:
                self._peek()
                yield self._value()
                mark = self._take()
                if mark == "]":
                    break
                if mark != ",":
                    problem = "expected ',' or ']' after it" if mark else "the file ends after it"
                    raise self._error(problem, self._position)
                self._number += 1
        if self._peek():
            raise self._error("expected nothing after the list", self._position)

    def _value(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                is_cut = (
                    error.pos > len(self._buffer) - _MARGIN
                    or error.msg.startswith("Unterminated string")
                )  # fmt: skip
                if is_cut and self._more():
                    continue
                raise self._error(error.msg, error.pos) from error
            if len(self._buffer) - end < _MARGIN and self._more():
                continue  # "1" may be the beginning of "1.5e-3"
            self._position = end
            return value

    def _peek(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            self._position = match.end() if match else self._position
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._more():
                return ""

    def _take(self) -> str:
        character = self._peek()
        self._position += len(character)
        return character

    def _more(self) -> bool:
        """Forget what was decoded and read on, twice as much as is kept; False at the end."""
        kept = self._buffer[self._position :]
        if len(kept) > _LONGEST:
            raise self._error(
                f"longer than {_LONGEST:,} characters, or a quote is not closed", self._position
            )
        text = self._stream.read(max(_CHUNK, len(kept)))
        if not text:
            return False
        self._lines_before += self._buffer.count("\n", 0, self._position)
        self._buffer, self._position = kept + text, 0
        return True

    def _error(self, problem: str, position: int) -> VesselrlError:
        line = self._lines_before + self._buffer.count("\n", 0, position) + 1
        return VesselrlError(
            f"{self._path} is not JSON (entry {self._number}, line {line}: {problem}): "
            "correct or replace it."
        )


def _unreadable(path: Path, error: OSError | ValueError | RecursionError) -> VesselrlError:
    if isinstance(error, OSError):
        return VesselrlError(f"{path} cannot be read: {error.strerror}.")
    problem = "its brackets are nested too deeply" if isinstance(error, RecursionError) else error
    return VesselrlError(f"{path} is not JSON ({problem}): correct or replace it.")
