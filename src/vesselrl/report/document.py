"""A report as data: sections of blocks, which the HTML and the Markdown template both walk.

One document, two renderings: what the page says and what the Markdown says cannot differ.
"""

from dataclasses import dataclass
from typing import ClassVar

from vesselrl.report.language import Language


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Callout:
    """The sentence a reader should not miss; tone is ``verdict``, ``note`` or ``warning``."""

    kind: ClassVar[str] = "callout"
    text: str
    tone: str = "note"


@dataclass(frozen=True)
class Bullets:
    """A list of short texts."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Text to copy as it is; long text with a title is folded away under it."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Tile:
    """One key number: what it is, its value, and a remark under it."""

    label: str
    value: str
    remark: str


@dataclass(frozen=True)
class Tiles:
    """Key numbers side by side."""

    kind: ClassVar[str] = "tiles"
    items: tuple[Tile, ...]


@dataclass(frozen=True)
class Table:
    """A table; the first ``text_columns`` columns are text, the rest numbers, aligned right."""

    kind: ClassVar[str] = "table"
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    marked_row: int | None = None
    """A row to stand out."""
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure: PNG bytes, its file name beside the Markdown report, words for who cannot see it.

    One with *photographs* looks the same on a dark screen, where charts, which are drawn on white,
    are inverted: no image of a patient may appear as its negative.
    """

    kind: ClassVar[str] = "picture"
    png: bytes
    file: str
    alt: str
    caption: str
    photographs: bool = False


Block = Paragraph | Callout | Bullets | Code | Tiles | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading, an anchor and what stands under it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    language: Language = "en"
