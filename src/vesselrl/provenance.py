"""Fingerprints: which data and which parameters made an artefact.

The fingerprint of an artefact is a hash of the function that made it, the version of vesselrl, the
values of its parameters and the fingerprints of its inputs, so it changes when anything upstream
changes. It is computed from the pipeline alone, before anything runs; comparing it with the one
recorded when the artefact was saved tells whether the artefact on disk still belongs to the present
data and parameters.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vesselrl import __version__
from vesselrl.files import write_atomically
from vesselrl.hashes import ContentHashes, digest


def digest_of_path(path: Path, hashes: ContentHashes) -> str:
    """Hash of a file's content, or of the names and contents of all files of a folder."""
    if not path.exists():
        return "absent"
    if path.is_dir():
        return digest([path.name, hashes.of_folder(path)])
    with path.open("rb") as stream:
        return digest([path.name, hashlib.file_digest(stream, "sha256").hexdigest()])


def listing_of_path(path: Path) -> str:
    """Hash of a file's size, or of the names and sizes of a folder's files: quick, not thorough."""
    files = [path] if path.is_file() else _files(path)
    return digest([[file.relative_to(path).as_posix(), file.stat().st_size] for file in files])


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def expected_fingerprints(
    pipeline: Pipeline,
    value_of: Callable[[str], Any],
    fingerprint_of: Callable[[str], str],
    absent: Collection[str] = (),
) -> dict[str, str]:
    """The fingerprint that every dataset of a pipeline should carry.

    Args:
        pipeline: all stages, from the raw data on.
        value_of: the value of a parameter (``params:…`` or ``parameters``).
        fingerprint_of: the fingerprint of a dataset that no node makes.
        absent: optional datasets that are not there: whoever reads them makes do without.

    Returns:
        Dataset name → fingerprint, parameters left out.
    """
    known: dict[str, str] = {}

    def look_up(name: str) -> str:
        if name == "parameters" or name.startswith("params:"):
            return digest(value_of(name))
        if name in absent:
            return "absent"
        if name not in known:
            known[name] = fingerprint_of(name)
        return known[name]

    for node in pipeline.nodes:
        made_by = digest(
            [
                __version__,
                f"{node.func.__module__}.{node.func.__qualname__}",
                [look_up(name) for name in node.inputs],
            ]
        )
        known.update({name: digest([made_by, i]) for i, name in enumerate(node.outputs)})
    return known


def nodes_to_refresh(
    pipeline: Pipeline, wanted: Iterable[str], is_fresh: Callable[[str], bool]
) -> list[Node]:
    """The nodes that must run to bring the wanted datasets up to date, none more than needed."""
    maker = {name: node for node in pipeline.nodes for name in node.outputs}
    chosen: dict[str, Node] = {}
    queue = [name for name in wanted if name in maker and not is_fresh(name)]
    while queue:
        node = maker[queue.pop()]
        if node.name not in chosen:
            chosen[node.name] = node
            queue += [name for name in node.inputs if name in maker and not is_fresh(name)]
    return list(chosen.values())


class Record(NamedTuple):
    """What is noted of a dataset when it is complete.

    Attributes:
        fingerprint: of what made it.
        files: `listing_of_path` of what was written; empty where there is nothing to list.
    """

    fingerprint: str
    files: str


class Ledger:
    """What was recorded under one output folder, in ``fingerprints.json``.

    A file that is damaged counts as empty: everything is then made again.
    """

    def __init__(self, out_dir: Path) -> None:
        self._file = out_dir / "fingerprints.json"
        self._recorded = self._read()

    def get(self, name: str) -> Record | None:
        """The record of a dataset, None where there is none."""
        record = self._recorded.get(name)
        return Record(*record) if record else None

    def record(self, name: str, record: Record) -> None:
        """Note that a dataset is complete on disk."""
        self._write({**self._read(), name: list(record)})

    def forget(self, name: str) -> None:
        """Note that a dataset is about to change: until recorded again it counts as stale."""
        recorded = self._read()
        if recorded.pop(name, None) is not None:
            self._write(recorded)

    # Read anew before each change: workers of a parallel runner each have a ledger of their own.
    def _read(self) -> dict[str, list[str]]:
        try:
            recorded = json.loads(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        readable = isinstance(recorded, dict) and all(
            isinstance(record, list) and len(record) == 2 for record in recorded.values()
        )
        return dict(recorded) if readable else {}

    def _write(self, recorded: dict[str, list[str]]) -> None:
        self._recorded = recorded
        text = json.dumps(recorded, indent=1, sort_keys=True)
        write_atomically(self._file, lambda stream: stream.write(text.encode()))
