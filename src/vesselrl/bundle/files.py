"""The files of a bundle, in a folder or a zip archive: what is not as it was written is refused.

``manifest.json`` has the size and SHA-256 of every other file. That finds damage and mistakes; who
writes files *and* manifest anew is not found out, unless the manifest's own SHA-256 is known from
elsewhere (the run that makes a bundle tells it). Nothing in a bundle is run or unpickled, and
nothing of it is written anywhere by reading it.
"""

import hashlib
import json
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Annotated, Protocol

from pydantic import Field, ValidationError

from vesselrl import __version__
from vesselrl.errors import VesselrlError, first_few
from vesselrl.parameters import ParameterModel

MANIFEST = "manifest.json"
FORMAT = "vesselrl bundle"
VERSION = 1
"""Of the format: it changes when older versions of vesselrl can no longer read what is written."""
LARGEST_MANIFEST = 2**20
LARGEST = 2**31
"""Bytes of all files: no bundle of networks of ours comes near it, and memory holds it."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive, so that the same content gives the same archive."""


class FileRecord(ParameterModel):
    """What the manifest tells of a file."""

    bytes: int = Field(ge=0, strict=True)
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(ParameterModel):
    """The content of ``manifest.json``."""

    format: str
    format_version: int
    vesselrl: str = Field(description="the version that wrote the bundle")
    files: dict[str, FileRecord] = Field(min_length=1)


def with_manifest(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a bundle, their manifest first.

    Args:
        files: name, with ``/`` between folders → content.
    """
    records = {
        name: FileRecord(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in sorted(files.items())
    }
    manifest = Manifest(format=FORMAT, format_version=VERSION, vesselrl=__version__, files=records)
    text = json.dumps(manifest.model_dump(), indent=1)
    return {MANIFEST: text.encode(), **{name: files[name] for name in records}}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive; the same files give the same bytes.

    It is not compressed: weights would hardly become smaller.
    """
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as written:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            written.writestr(info, content)
    return archive.getvalue()


def read_files(path: Path) -> dict[str, bytes]:
    """All files of a bundle but the manifest, checked against it.

    Args:
        path: of a folder or a zip archive.

    Returns:
        Name → content.

    Raises:
        VesselrlError: there is no bundle, it is of an unknown version, or a file of it is missing,
            changed, cut short, not in the manifest, too large, or leads out of the bundle.
    """
    if path.is_dir():
        return _checked(_Folder(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked(_Archive(path, archive))
    except FileNotFoundError as error:
        raise VesselrlError(
            f"There is no bundle at {path}: expected the folder, or the zip file, that kedro run "
            "--pipeline bundle writes."
        ) from error
    # RuntimeError: it is encrypted; NotImplementedError: compressed in a way unknown here.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise VesselrlError(
            f"{path} is damaged or no zip file ({error}): get the bundle again from where it was "
            "made."
        ) from error


class _Container(Protocol):
    """Where the files of a bundle are."""

    path: Path

    def names(self) -> list[str]:
        """Of all files, the manifest's too."""

    def read(self, name: str, most: int) -> bytes:
        """The first bytes of a file, no more than ``most``."""


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        found = []
        for entry in self.path.rglob("*"):
            name = entry.relative_to(self.path).as_posix()
            if entry.is_symlink():
                raise VesselrlError(
                    f"{self.path}: {name} is a link, which may lead out of the bundle; expected "
                    "files alone: copy the bundle again, without links."
                )
            if not entry.is_dir() and not entry.is_file():  # to read a pipe would wait for ever
                raise VesselrlError(f"{self.path}: {name} is no file: do not use this bundle.")
            if entry.is_file():
                found.append(name)
        return found

    def read(self, name: str, most: int) -> bytes:
        with (self.path / name).open("rb") as stream:
            return stream.read(most)


class _Archive:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive

    def names(self) -> list[str]:
        entries = [entry.filename for entry in self._archive.infolist()]
        names = [name for name in entries if not name.endswith("/")]  # the rest are folders
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise VesselrlError(
                f"{self.path} holds {twice[0]!r} more than once: get the bundle again from where "
                "it was made."
            )
        return names

    def read(self, name: str, most: int) -> bytes:
        # No more is unpacked than this, whatever the archive says of itself.
        with self._archive.open(name) as stream:
            return stream.read(most)


def _checked(container: _Container) -> dict[str, bytes]:
    names = container.names()
    if MANIFEST not in names:
        raise VesselrlError(
            f"{container.path} has no {MANIFEST} at its top, so it is no bundle of vesselrl: "
            "expected the folder, or the zip file, that kedro run --pipeline bundle writes."
        )
    records = _manifest(container).files
    for wrong, what in (
        (sorted(set(records) - set(names)), "lacks"),
        (sorted(set(names) - set(records) - {MANIFEST}), "holds, though its manifest does not,"),
    ):
        if wrong:
            raise VesselrlError(
                f"{container.path} {what} {first_few(wrong)}: get the bundle again from where it "
                "was made."
            )
    return {name: _read(container, name, record) for name, record in records.items()}


def _manifest(container: _Container) -> Manifest:
    """The manifest, once it is known that this version of vesselrl can read such a bundle."""
    where = f"{container.path}: {MANIFEST}"
    content = container.read(MANIFEST, LARGEST_MANIFEST + 1)
    if len(content) > LARGEST_MANIFEST:
        raise VesselrlError(
            f"{where} is larger than {LARGEST_MANIFEST:,} bytes, which no manifest is: do not use "
            "this bundle."
        )
    try:
        told = json.loads(content)
        kind, version = told["format"], told["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VesselrlError(
            f"{where} is damaged, or of something else than a bundle ({error}): get the bundle "
            "again from where it was made."
        ) from error
    if kind != FORMAT or version != VERSION:
        raise VesselrlError(
            f"{where} says it is a {kind!r} of version {version!r}; this vesselrl ({__version__}) "
            f"reads a {FORMAT!r} of version {VERSION}: install the vesselrl that wrote it"
            f" ({told.get('vesselrl', 'unknown')}), or make the bundle again with this one."
        )
    try:
        manifest = Manifest.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        raise VesselrlError(
            f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}. Get the bundle again "
            "from where it was made."
        ) from error
    for name in manifest.files:
        _check_name(where, name)
    total = sum(record.bytes for record in manifest.files.values())
    if total > LARGEST:
        raise VesselrlError(
            f"{where} tells of {total:,} bytes; a bundle has at most {LARGEST:,}: do not use it."
        )
    return manifest


def _check_name(where: str, name: str) -> None:
    """Refuse names that would lead out of the bundle on any system."""
    pure = PurePosixPath(name)
    is_within = not pure.is_absolute() and ".." not in pure.parts and str(pure) == name
    if not is_within or name in (MANIFEST, ".") or any(sign in name for sign in "\\:\0"):
        raise VesselrlError(
            f"{where} names {name!r}, which is no file within the bundle: do not use this bundle."
        )


def _read(container: _Container, name: str, record: FileRecord) -> bytes:
    content = container.read(name, record.bytes + 1)
    wrong = ""
    if len(content) < record.bytes:
        wrong = f"is cut short: {len(content):,} bytes of {record.bytes:,}"
    elif len(content) > record.bytes:
        wrong = f"has more than the {record.bytes:,} bytes that its manifest says"
    elif hashlib.sha256(content).hexdigest() != record.sha256:
        wrong = "was changed since the bundle was made (its SHA-256 is another)"
    if wrong:
        raise VesselrlError(
            f"{container.path}: {name} {wrong}. Get the bundle again from where it was made."
        )
    return content
