"""Folders on object stores and whatever else fsspec knows, by their URL.

See https://filesystem-spec.readthedocs.io. Keys and endpoints are never in the URL: each store
looks for them in its usual places (S3: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ~/.aws, …).
"""

import errno
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vesselrl.errors import VesselrlError
from vesselrl.hashes import digest
from vesselrl.progress import tracked

MANIFEST = ".vesselrl.json"
"""Beside what `mirror` wrote: name of each file → hash of its content."""
_AT_ONCE = 16  # requests underway: what is waited for is the network
_OF_CONTENT = (
    "size", "ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created",
)  # fmt: skip
_STORES = frozenset({"s3", "gs", "gcs", "abfs", "az", "oss"})
_EXTRAS = {"s3": "s3", "s3a": "s3"}


def is_remote(path: str) -> bool:
    """Whether a path is the URL of a folder elsewhere."""
    return "://" in path


class RemoteFolder(Mapping[str, Callable[[], bytes]]):
    """File name relative to a remote folder → a loader of the file's bytes; read only.

    It is listed once, when that is first needed. A copy that is sent to another process does not
    take the list along: to load a file it needs none. For a folder on this machine see
    `vesselrl.annotations.folder.ImageFolder`.

    Args:
        url: of the folder.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._filesystem, self._root = _open(url)

    def __getitem__(self, file: str) -> Callable[[], bytes]:
        """The loader of one file.

        Raises:
            KeyError: the folder was listed, and there is no such file.
        """
        if "_found" in self.__dict__ and file not in self._found:
            raise KeyError(file)
        return _Loader(self._filesystem, f"{self._root}/{file}")

    def __contains__(self, file: object) -> bool:
        return file in self._found

    def __reduce__(self) -> tuple[type["RemoteFolder"], tuple[str]]:
        return RemoteFolder, (self._url,)

    def __iter__(self) -> Iterator[str]:
        """Names of all files, in order, hidden ones and annotations beside them left out."""
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def stamps(self) -> dict[str, str]:
        """Name of each file → a text that changes when it is written to, as the store tells."""
        return {
            name: digest([about.get(key) for key in _OF_CONTENT])
            for name, about in self._found.items()
        }

    def require(self) -> None:
        """Raise a VesselrlError if the folder is not there."""
        with _told(self._url, "read"):
            if not self._filesystem.isdir(self._root):
                raise FileNotFoundError(errno.ENOENT, "there is no such folder, or it is empty")

    @cached_property
    def _found(self) -> dict[str, dict[str, Any]]:
        self.require()
        with _told(self._url, "read"):
            found = _list(self._filesystem, self._root)
        return {
            name: about
            for name, about in found.items()
            if not name.rsplit("/", 1)[-1].startswith(".") and not name.endswith(".json")
        }


@dataclass(frozen=True)
class _Loader:
    """Reads one file."""

    filesystem: Any
    path: str

    def __call__(self) -> bytes:
        """The bytes of the file.

        Raises:
            OSError: whatever the store's own library raised, but for its message, which may hold
                the name of the file where only pseudonyms must be told.
        """
        try:
            data: bytes = self.filesystem.cat_file(self.path)
        except Exception as error:  # each store has errors of its own
            reason = error.strerror if isinstance(error, OSError) else None
            told = ": ".join(filter(None, [type(error).__name__, reason]))
            raise OSError(errno.EIO, told) from error
        return data


def require_store(url: str) -> None:
    """Raise a VesselrlError if `mirror` would fail, as far as asking tells: nothing is written.

    That is: the store is unknown, its library is not installed, it does not answer, has no such
    bucket or refuses.
    """
    filesystem, root = _open(url)
    with _told(url, "written"):
        _list(filesystem, root)


def mirror(folder: Path, url: str) -> tuple[int, int]:
    """Make a remote folder hold the files of a local one, hidden ones left out.

    Only what is missing or differs is sent, files at the top last, as they tell of the others.
    What an earlier mirroring sent and is no longer there is removed; nothing else is touched. One
    that broke off goes on where it was.

    Args:
        folder: the local one.
        url: of the remote one.

    Returns:
        How many files were sent, and how many removed.

    Raises:
        VesselrlError: the store is unknown, does not answer or refuses.
    """
    filesystem, root = _open(url)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    with _told(url, "written"), ThreadPoolExecutor(_AT_ONCE) as pool:
        hashes = dict(zip(files, pool.map(_hash, files.values()), strict=True))
        found = _list(filesystem, root)
        sent = _read_manifest(filesystem, root) if MANIFEST in found else {}
        whole = {
            name
            for name, path in files.items()
            if sent.get(name) == hashes[name]
            and found.get(name, {}).get("size") == path.stat().st_size
        }
        new = sorted(files.keys() - whole, key=lambda name: ("/" not in name, name))
        gone = sorted((sent.keys() & found.keys()) - files.keys())
        if not new and not gone:
            return 0, 0
        # What is about to be replaced does not count from here on; what may be removed still does.
        kept = {name: sent[name] for name in [*whole, *gone]}
        _write_manifest(filesystem, root, kept)

        _make_folders(filesystem, {f"{root}/{name}".rsplit("/", 1)[0] for name in new})

        def send(name: str) -> None:
            filesystem.put_file(str(files[name]), f"{root}/{name}")

        below = [name for name in new if "/" in name]
        for names in (below, new[len(below) :]):
            for _ in tracked(pool.map(send, names), "Sending", len(names), "file"):
                pass
        for name in gone:
            filesystem.rm_file(f"{root}/{name}")
        _write_manifest(filesystem, root, hashes)
    return len(new), len(gone)


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path on it."""
    from fsspec.core import url_to_fs

    protocol = url.split("://", 1)[0]
    try:
        filesystem, root = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        remedy = f"pip install 'vesselrl[{extra}]'" if extra else str(error)
        raise VesselrlError(f"{url} needs a library that is not installed: {remedy}.") from error
    except ValueError as error:
        raise VesselrlError(
            f"{url}: fsspec knows no '{protocol}://' ({error}); expected s3://, gs://, abfs:// or "
            "another that it knows, or a path on this machine."
        ) from error
    return filesystem, str(root).rstrip("/")


@contextmanager
def _told(url: str, done: str) -> Iterator[None]:
    """Tell the errors of a store, of which each has its own, in a sentence."""
    try:
        yield
    except VesselrlError:
        raise
    except Exception as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise VesselrlError(
            f"{url} cannot be {done} ({type(error).__name__}: {what}): check the address, the "
            "network, and that your account may do it."
        ) from error


def _list(filesystem: Any, root: str) -> dict[str, dict[str, Any]]:
    """Name of each file below a folder, in order → what the store tells of it.

    The empty objects by which web pages of stores mark folders are none.
    """
    start = len(root.strip("/")) + 1
    found = filesystem.find(root, detail=True)
    return {path.strip("/")[start:]: found[path] for path in sorted(found) if path[-1] != "/"}


def _make_folders(filesystem: Any, paths: Iterable[str]) -> None:
    """Make folders where there are such: for a store it would make a bucket of a misspelt name."""
    protocols = filesystem.protocol
    if _STORES.isdisjoint([protocols] if isinstance(protocols, str) else protocols):
        for path in paths:
            filesystem.makedirs(path, exist_ok=True)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(filesystem: Any, root: str) -> dict[str, str]:
    """What was sent; nothing if the file is damaged."""
    try:
        sent = json.loads(filesystem.cat_file(f"{root}/{MANIFEST}"))
    except ValueError:
        return {}
    return sent if isinstance(sent, dict) else {}


def _write_manifest(filesystem: Any, root: str, sent: Mapping[str, str]) -> None:
    _make_folders(filesystem, [root])
    filesystem.pipe_file(f"{root}/{MANIFEST}", json.dumps(sent, indent=0).encode())
