"""Names of patients, files and whatever free text may hold them → keyed ids.

Names are replaced once, as annotations and images are opened (`Pseudonyms.entry`,
`PseudonymousFiles`): whatever comes after, messages and refusals included, has only ever seen
pseudonyms. A pseudonym is a truncated HMAC-SHA256 of the name: the same for the same key, and
without the key neither undone nor guessed by trying names. The key and the table of names are kept
by `vesselrl.datasets.private` and nowhere else.

What this does not hide: text burnt into the pixels, and the order of the entries.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from vesselrl.annotations.folder import normalised
from vesselrl.errors import VesselrlError

Table = dict[str, dict[str, str]]
"""``files``, ``groups`` and ``texts``: pseudonym → original."""

KINDS = {"files": "img", "groups": "grp", "texts": "txt"}
_DIGITS = 16  # 64 bits: among a million names two are equal with a chance of 3 in 100 million

# Any other ending may be part of a name.
_SUFFIXES = frozenset(
    (
        ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".gif", ".webp", ".pgm", ".ppm",
        ".jp2",
    )
)  # fmt: skip
# Fields whose value is the name of a file, as the annotations should and do call them.
_FILE_FIELDS = frozenset(
    (
        "image", "mask_file", "image_path", "imagePath", "image_name", "file_name", "filename",
        "file", "img",
    )
)  # fmt: skip
_WORDS = _FILE_FIELDS | {
    "mask", "text", "masks", "polygons", "polygon", "segmentation", "segments", "shapes",
    "annotation", "frame", "stated_size", "size", "counts", "refused", "train", "val", "test",
    "unlabelled", "images", "annotations", "categories", "id", "image_id", "category_id", "label",
    "points", "shape_type", "imageWidth", "imageHeight",
}  # fmt: skip
_DEEPEST = 8  # an entry that is nested deeper is refused whatever it holds
_NUMBERS = frozenset((int, float))
_QUOTED = re.compile(r"""(["'])(.*?)\1""", re.DOTALL)


class Pseudonyms:
    """Names → pseudonyms, and back as far as they were seen.

    Args:
        key: at least 16 bytes; None replaces nothing.
        table: what `table` of an earlier object with this key returned.
    """

    def __init__(self, key: bytes | None, table: Mapping[str, Mapping[str, str]] | None = None):
        if key is not None and len(key) < 16:
            raise ValueError(f"a key of {len(key)} bytes; expected 16 or more")
        self._key = key
        self._known: Table = {kind: dict((table or {}).get(kind, {})) for kind in KINDS}

    @property
    def active(self) -> bool:
        """Whether names are replaced."""
        return self._key is not None

    @property
    def table(self) -> Table:
        """Every pseudonym given so far → its original, by kind; empty where nothing is replaced."""
        return {kind: dict(names) for kind, names in self._known.items()} if self.active else {}

    def file(self, name: str) -> str:
        """The pseudonym of an image or mask file; every spelling of a path has the same."""
        if not self.active or not name.strip():
            return name
        path = normalised(name)
        suffix = PurePosixPath(path).suffix.lower()
        return self._of("files", path, suffix if suffix in _SUFFIXES else "")

    def group(self, name: str) -> str:
        """The pseudonym of a group."""
        return self._of("groups", name)

    def text(self, text: str) -> str:
        """The pseudonym of free text, as a whole."""
        return self._of("texts", text) if text.strip() else text

    def original(self, file: str) -> str:
        """The name that a file's pseudonym stands for.

        Raises:
            KeyError: this pseudonym was not given.
        """
        return self._known["files"][file] if self.active and file.strip() else file

    def only(self, *files: str) -> "Pseudonyms":
        """The same, but knowing these files alone, to be sent to another process.

        Args:
            files: pseudonyms; those that were not given are left out.
        """
        known = self._known["files"]
        return Pseudonyms(self._key, {"files": {f: known[f] for f in files if f in known}})

    def entry(self, raw: Any) -> Any:
        """An entry of the annotations without names.

        Its form stays, so that it is accepted or refused as it would be: names of files become
        pseudonyms, other text (``text`` phrases too: they may name somebody) and unknown fields
        become pseudonyms of text, numbers and known fields stay, and so does the run-length code of
        a mask. The reason of an entry that a reader refused goes through `message`.

        Args:
            raw: anything that JSON can hold.
        """
        return self._hidden(raw, "", 0) if self.active else raw

    def message(self, text: str) -> str:
        """A message without what it quotes, known words apart."""
        if not self.active:
            return text

        def hide(match: re.Match[str]) -> str:
            quote, quoted = match[1], match[2]
            return match[0] if quoted in _WORDS else f"{quote}{self.text(quoted)}{quote}"

        return _QUOTED.sub(hide, text)

    def splits_table(self, given: Any) -> Any:
        """The content of ``splits.json`` with pseudonyms for the files it names."""
        if not self.active or not isinstance(given, dict):
            return given
        return {
            self.file(file): self.text(split)
            if isinstance(split, str) and split not in _WORDS
            else split
            for file, split in given.items()
        }

    def _hidden(self, value: Any, field: str, depth: int) -> Any:
        if depth > _DEEPEST:
            return None
        match value:
            case str():
                if field == "counts":
                    return value
                return self.file(value) if field in _FILE_FIELDS else self.text(value)
            case dict():
                return {
                    key if key in _WORDS else self.text(key): [self.message(part) for part in inner]
                    if key == "refused" and _is_finding(inner)
                    else self._hidden(inner, key, depth + 1)
                    for key, inner in value.items()
                }
            # Coordinates, nearly all there is, are passed on as they are.
            case list() if not _NUMBERS.issuperset(map(type, value)):
                return [self._hidden(part, field, depth + 1) for part in value]
        return value

    def _of(self, kind: str, name: str, suffix: str = "") -> str:
        if self._key is None:
            return name
        text = f"{kind}\0{name}".encode("utf-8", "surrogatepass")
        digits = hmac.digest(self._key, text, hashlib.sha256).hex()[:_DIGITS]
        pseudonym = f"{KINDS[kind]}-{digits}{suffix}"
        if self._known[kind].setdefault(pseudonym, name) != name:
            raise VesselrlError(
                f"Two names have the same pseudonym, {pseudonym}: delete the key in 00_private/ to "
                "draw another. All pseudonyms change then."
            )
        return pseudonym


class PseudonymousFiles(Mapping[str, Callable[[], bytes]]):
    """A folder of images or masks by the pseudonyms of its files.

    Args:
        files: original name → loader of the file's bytes.
        pseudonyms: which know, or learn while this is gone through, what the pseudonyms stand for.
    """

    def __init__(self, files: Mapping[str, Callable[[], bytes]], pseudonyms: Pseudonyms) -> None:
        self._files = files
        self._pseudonyms = pseudonyms

    def __getitem__(self, file: str) -> Callable[[], bytes]:
        """The loader of one file; refusals are those of the folder.

        Raises:
            KeyError: there is no such file.
        """
        return self._files[self._pseudonyms.original(file)]

    def __iter__(self) -> Iterator[str]:
        """Pseudonyms of all files, in the order of their names."""
        return map(self._pseudonyms.file, self._files)

    def __len__(self) -> int:
        return len(self._files)


def _is_finding(value: Any) -> bool:
    """Whether it is field, reason and hint of an entry that a reader refused."""
    return isinstance(value, list) and [type(part) for part in value] == [str] * 3
