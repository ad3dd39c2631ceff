"""SHA-256: of values, and of the contents of files, anew only for those written to since."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vesselrl.errors import VesselrlError
from vesselrl.journal import Journal
from vesselrl.parallel import FEW, cores
from vesselrl.progress import tracked

_SETTLED_NS = 2_000_000_000  # coarser than the clock of any file system


def digest(value: Any) -> str:
    """SHA-256 of a JSON-like value (pydantic models included), as 16 hexadecimal digits.

    The order of keys counts: that of prompts and operations is the order of axes in what is stored.
    """
    text = json.dumps(value, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


class ContentHashes:
    """Hashes of files, remembered in a file of their own.

    A file is known by its *stamp*: device, inode, size, and the times in nanoseconds of the last
    change of its content and of its status. Whatever writes to a file, or puts another in its
    place, changes its stamp; setting its times back does too, since that is a change of status. A
    file changed within the last two seconds is not remembered: its clock might not yet tell the
    next change apart. No names are kept.
    """

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._asked: dict[str, None] = {}

    def of_folder(self, root: Path) -> dict[str, str]:
        """Hash every file of a folder.

        Returns:
            Path relative to the folder, with ``/`` → hash in hexadecimal digits, in the order of
            the paths; empty for a file that cannot be read.

        Raises:
            VesselrlError: a folder cannot be read.
        """
        try:
            found = sorted(_walk(root, ""))
        except OSError as error:  # which names a folder within, and that may be a patient's name
            raise VesselrlError(
                f"{root}, or a folder within it, cannot be read: {error.strerror}. Everything in "
                "it must be readable."
            ) from None
        stamps = [_stamp(status) for _, _, status in found]
        self._asked.update(dict.fromkeys(stamps))
        hashes: list[str] = [self._journal.get(stamp) or "" for stamp in stamps]
        unknown = [index for index, known in enumerate(hashes) if not known]
        with ThreadPoolExecutor(cores()) as pool, self._journal as journal:
            read = pool.map(_hash, (found[index][1] for index in unknown))
            shown = tracked(read, "Reading files", len(unknown), unit="file")
            for index, computed in zip(unknown, shown, strict=True):
                hashes[index] = computed
                if computed and len(unknown) > FEW and _is_settled(found[index][2]):
                    journal.add(stamps[index], computed)
        return {name: known for (name, _, _), known in zip(found, hashes, strict=True)}

    def forget_unasked(self) -> None:
        """Forget the files that were not asked for since this object was made."""
        self._journal.keep(self._asked)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Name relative to the root, path and status of all files; folders that are links left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name, entry.path, entry.stat()


def _stamp(status: os.stat_result) -> str:
    parts = (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip
    return ":".join(map(str, parts))


def _is_settled(status: os.stat_result) -> bool:
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS


def _hash(path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
