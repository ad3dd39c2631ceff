"""Checking all entries: over several processes, and each only once while nothing about it changes.

What a check finds depends on the entry, on the bytes of its image and mask files, on the size limit
and on the code that reads them. A hash over all of these is the key under which a journal keeps the
finding for the next run, if it is to accept the entry. What is refused is looked at again: it may
have been for want of a connection, a permission or a package.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import PIL

from vesselrl.annotations.acceptance import NO_FILES, accept, name_of, read_sample
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import normalised
from vesselrl.annotations.packing import pack, unpack
from vesselrl.annotations.perceptual_hash import perceptual_hash
from vesselrl.annotations.pseudonyms import PseudonymousFiles, Pseudonyms
from vesselrl.journal import Journal
from vesselrl.parallel import ordered_map

Files = Mapping[str, Callable[[], bytes]]
Finding = dict[str, Any]
"""``accepted``: the facts about an entry; or ``refused``: its field, reason and hint."""

FACTS = (
    "file", "frame", "width", "height", "sha256", "vessel_fraction", "clipped", "text",
    "perceptual_hash",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """Checks one entry together with its files.

    Attributes:
        images: file name → loader of the bytes of an image file.
        masks: file name → loader of the bytes of a mask file.
        max_pixels: larger images are refused.
    """

    images: Files
    masks: Files
    max_pixels: int

    def __call__(self, item: tuple[bytes, Pseudonyms]) -> Finding:
        """Check one entry.

        Args:
            item: the entry, packed; and what the names in it stand for.
        """
        packed, names = item
        images, masks = (PseudonymousFiles(files, names) for files in (self.images, self.masks))
        try:
            sample = read_sample(unpack(packed), images, self.max_pixels, masks)
        except Refusal as refusal:
            return {"refused": [refusal.field, refusal.reason, refusal.hint]}
        facts = {**sample.entry, "perceptual_hash": perceptual_hash(sample.image)}
        facts["frame"] = facts["frame"] or 0  # a column of a table holds numbers alone
        return {"accepted": {name: facts[name] for name in FACTS}}

    def key(
        self, raw: Any, packed: bytes, names: Pseudonyms, hashes: Mapping[str, str]
    ) -> str | None:
        """What the finding depends on, hashed; None if that is not known.

        Args:
            raw: an entry.
            names: what the names in it stand for.
            packed: the same, packed.
            hashes: path of a file below the data folder → hash of its content.
        """
        if not isinstance(raw, dict):
            return None
        parts = [version_of_ingest(), str(self.max_pixels)]
        for field, folder in (("image", "images"), ("mask_file", "masks")):
            if field in raw:
                file = _file_of(raw, field)
                content = hashes.get(f"{folder}/{names.original(file)}") if file else None
                if not content:
                    return None
                parts.append(content)
        return hashlib.blake2b(" ".join(parts).encode() + packed, digest_size=16).hexdigest()


def _finding(known: Any) -> Finding | None:
    """What the journal has of an entry that was accepted; None if it is not as it was written."""
    facts = known.get("accepted") if isinstance(known, dict) else None
    return known if isinstance(facts, dict) and facts.keys() == set(FACTS) else None


def _file_of(raw: Any, field: str = "image") -> str:
    name = raw.get(field) if isinstance(raw, dict) else None
    return normalised(name) if isinstance(name, str) else ""


@cache
def version_of_ingest() -> str:
    """A hash of the code that reads entries, images and masks."""
    code = hashlib.blake2b(PIL.__version__.encode(), digest_size=8)
    here = Path(__file__).parent
    for file in sorted([*here.glob("*.py"), *here.parent.glob("pipelines/ingest/*.py")]):
        code.update(file.read_bytes())
    return code.hexdigest()


@dataclass
class Checked:
    """An entry that was checked, or is about to be.

    Attributes:
        name: the image it is about, as far as it tells.
        file: the same as the path of a file; empty if it tells none.
        packed: the entry, packed; emptied if it is the first about this file.
        key: under which the journal keeps the finding; None if it does not.
        finding: None as long as there is none.
    """

    name: str
    file: str
    packed: bytes
    key: str | None
    finding: Finding | None


def check_all(
    entries: Iterable[Any],
    names: Pseudonyms,
    check: Check,
    hashes: Mapping[str, str],
    journal: Journal,
    workers: int | None,
) -> Iterator[Checked]:
    """Check entries, in their order, and keep what is found.

    Args:
        entries: raw entries.
        names: replace the names in them.
        check: what to do with those whose finding is not known.
        hashes: path of a file below the data folder → hash of its content, for as many as are
            known.
        journal: holds the findings of earlier runs, and afterwards those of this one alone.
        workers: the most processes; None is one for each core.
    """
    underway: deque[Checked] = deque()
    keys: list[str] = []
    files: set[str] = set()

    def unknown() -> Iterator[tuple[bytes, Pseudonyms]]:
        for raw in map(names.entry, entries):
            packed = pack(raw)
            file = _file_of(raw)
            own = names.only(file, _file_of(raw, "mask_file"))
            key = check.key(raw, packed, own, hashes)
            kept = packed if file in files else b""
            known = _finding(journal.get(key)) if key else None
            entry = Checked(name_of(raw), file, kept, key, known)
            underway.append(entry)
            files.add(file)
            if key:
                keys.append(key)
            if entry.finding is None:
                yield packed, own

    with journal:
        for finding in ordered_map(check, unknown(), workers):
            while underway[0].finding is not None:
                yield underway.popleft()
            entry = underway.popleft()
            entry.finding = finding
            if entry.key and "accepted" in finding:
                journal.add(entry.key, finding)
            yield entry
        yield from underway
        journal.keep(keys)


def refuse_duplicates(
    checked: Iterable[Checked], max_pixels: int
) -> Iterator[tuple[Checked, Finding]]:
    """Of the entries about one image, accept the first that can be accepted.

    Yields:
        Each entry with its finding, in their order.
    """
    taken: dict[str, int] = {}
    for number, entry in enumerate(checked):
        finding = entry.finding or {}
        if entry.file in taken:
            try:
                accept(unpack(entry.packed), NO_FILES, taken, max_pixels)
            except Refusal as refusal:
                finding = {"refused": [refusal.field, refusal.reason, refusal.hint]}
        elif "accepted" in finding:
            taken[entry.file] = number
        yield entry, finding
