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


def say_stored(text: str) -> str:
    """Text that an earlier stage stored in English, in the present language.

    Each sentence is recognised by the message of the catalogue that it was made from; one that is
    not recognised stays English.
    """
    sentences = re.split(r"(?<=\.) (?=[A-Z‘])", text)
    translated = [_recognised(sentence, _current.get()) for sentence in sentences]
    return ("" if _current.get() == "zh" else " ").join(translated)


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """English message → translation; empty for English."""
    if language == "en":
        return {}
    import yaml

    text = (files("vesselrl.report") / "locale" / f"{language}.yml").read_text(encoding="utf-8")
    return cast(dict[str, str], yaml.safe_load(text))


def _recognised(sentence: str, language: Language) -> str:
    for pattern, translation in _patterns(language):
        if found := pattern.fullmatch(sentence):
            parts = {name: _recognised(part, language) for name, part in found.groupdict().items()}
            return translation.format(**parts)
    return sentence


@cache
def _patterns(language: Language) -> list[tuple[re.Pattern[str], str]]:
    """Each message as the regular expression of the sentences it makes, the most exact first."""
    messages = sorted(catalogue(language).items(), key=lambda item: -len(item[0]))
    patterns = []
    for message, translation in messages:
        if re.fullmatch(r"(\{\w+\}\W*)+", message):
            continue  # without words of its own it would match anything
        parts = re.split(r"\{(\w+)\}", message)
        named = [f"(?P<{p}>.+?)" if n % 2 else re.escape(p) for n, p in enumerate(parts)]
        patterns.append((re.compile("".join(named)), translation))
    return patterns
