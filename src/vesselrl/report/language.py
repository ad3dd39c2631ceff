"""The language a report is written in.

As in gettext, the English message is the key under which a catalogue (``locale/<language>.yml``)
has the translation, and a message without one stays English.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Literal, cast

Language = Literal["en", "zh"]
LANGUAGE_TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}
"""As HTML names them (BCP 47)."""

_current: ContextVar[Language] = ContextVar("language", default="en")


@contextmanager
def written_in(language: Language) -> Iterator[None]:
    """Within this block `say` speaks the language."""
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def say(message: str, **values: object) -> str:
    """A message in the present language, its ``{placeholders}`` filled in."""
    return catalogue(_current.get()).get(message, message).format(**values)


def mark(message: str) -> str:
    """The message itself: marks it, where it is defined, as one that `say` will be given."""
    return message


def sentences(*parts: str) -> str:
    """Sentences as running text; empty ones are left out."""
    return say(" ").join(filter(None, parts))


def say_stored(text: str) -> str:
    """Text that an earlier stage stored in English, in the present language.

    Each sentence is recognised by the message of the catalogue that it was made from; one that is
    not recognised stays English.
    """
    language = _current.get()
    parts = re.split(r"(?<=[.?]) (?=[A-Z0-9‘])", text)
    return sentences(*(_recognised(part, language) for part in parts))


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """English message → translation; empty for English."""
    if language == "en":
        return {}
    import yaml

    text = (files("vesselrl.report") / "locale" / f"{language}.yml").read_text(encoding="utf-8")
    return cast(dict[str, str], yaml.safe_load(text))


def _recognised(text: str, language: Language) -> str:
    """The translation of the first message that text can have been made from, else the text."""
    if "; " in text and not _ending(text):
        return say("; ").join(_recognised(part, language) for part in text.split("; "))
    for ending, pattern, translation in _patterns(language):
        if ending == _ending(text) and (found := pattern.fullmatch(text)):
            parts = found.groupdict().items()
            return translation.format(**{name: _recognised(p, language) for name, p in parts})
    return text


def _ending(text: str) -> str:
    """What closes a sentence, so that no half of one passes for a whole."""
    return text[-1:] if text[-1:] in (".", "?") else ""


@cache
def _patterns(language: Language) -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Each message as the regular expression of the texts it makes, the most exact first."""
    exact_first = sorted(
        ((re.split(r"\{(\w+)\}", message), said) for message, said in catalogue(language).items()),
        key=lambda item: -sum(map(len, item[0][::2])),
    )
    patterns = []
    for parts, translation in exact_first:
        if not "".join(parts[::2]).strip():
            continue  # nothing in it is its own: it would match anything
        seen: set[str] = set()
        expression = ""
        for number, part in enumerate(parts):
            if number % 2 == 0:
                expression += re.escape(part)
            else:
                expression += f"(?P={part})" if part in seen else f"(?P<{part}>.+?)"
                seen.add(part)
        patterns.append((_ending(parts[-1]), re.compile(expression), translation))
    return tuple(patterns)
