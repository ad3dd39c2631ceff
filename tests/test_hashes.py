import hashlib
import os
import subprocess
import sys
import time
import traceback

import pytest

from vesselrl import hashes
from vesselrl.errors import VesselrlError
from vesselrl.hashes import ContentHashes


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw" / "deep").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "deep/c.txt"):
        (tmp_path / "raw" / name).write_text(name)
    return tmp_path / "raw"


@pytest.fixture
def read(monkeypatch):
    """The files that were read."""
    names = []
    original = hashes._hash
    monkeypatch.setattr(hashes, "_hash", lambda path: names.append(path) or original(path))
    monkeypatch.setattr(hashes, "FEW", 0)
    return names


@pytest.fixture
def settled(monkeypatch):
    """Files count as unchanged for a while."""
    monkeypatch.setattr(hashes, "_SETTLED_NS", -1)


def of(folder):
    return ContentHashes(folder.parent / "hashes.tsv").of_folder(folder)


def test_every_file_has_the_hash_of_its_content(folder):
    expected = {n: hashlib.sha256(n.encode()).hexdigest() for n in ("a.txt", "b.txt", "deep/c.txt")}
    assert of(folder) == expected
    assert list(of(folder)) == list(expected)


READ = """
import sys
from pathlib import Path
from vesselrl.hashes import ContentHashes

ContentHashes(Path(sys.argv[1], "hashes.tsv")).of_folder(Path(sys.argv[1], "raw"))
"""


@pytest.mark.parametrize(("disabled", "shown"), [({}, True), ({"TQDM_DISABLE": "1"}, False)])
def test_the_bar_over_files_that_are_read_can_be_turned_off(folder, disabled, shown):
    others = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    run = subprocess.run(
        [sys.executable, "-c", READ, str(folder.parent)],
        env=others | disabled, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert ("Reading files" in run.stderr) == shown


def test_files_that_did_not_change_are_not_read_again(folder, read, settled):
    first = of(folder)
    assert len(read) == 3
    assert of(folder) == first
    assert len(read) == 3


def test_a_file_of_changed_content_but_equal_size_and_time_is_noticed(folder, read, settled):
    first = of(folder)
    file = folder / "a.txt"
    status = file.stat()
    time.sleep(0.02)
    file.write_text("x.txt")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    assert of(folder)["a.txt"] != first["a.txt"]
    assert len(read) == 4


def test_another_file_put_in_place_of_one_is_noticed(folder, settled):
    first = of(folder)
    other = folder.parent / "other"
    other.write_text("x.txt")
    os.utime(other, ns=(0, (folder / "a.txt").stat().st_mtime_ns))
    other.replace(folder / "a.txt")
    assert of(folder)["a.txt"] != first["a.txt"]


def test_a_file_changed_just_now_is_not_remembered(folder, read):
    of(folder)
    of(folder)
    assert len(read) == 6


def test_no_names_are_kept(folder, read, settled):
    of(folder)
    text = (folder.parent / "hashes.tsv").read_text()
    assert len(text.splitlines()) == 3
    assert "txt" not in text


def test_files_that_are_gone_are_forgotten(folder, read, settled):
    of(folder)
    (folder / "a.txt").unlink()
    known = ContentHashes(folder.parent / "hashes.tsv")
    known.of_folder(folder)
    known.forget_unasked()
    assert len((folder.parent / "hashes.tsv").read_text().splitlines()) == 2


def test_links_to_folders_are_not_followed(folder, tmp_path):
    (folder / "loop").symlink_to(folder)
    assert list(of(folder)) == ["a.txt", "b.txt", "deep/c.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_that_cannot_be_read_has_no_hash(folder):
    (folder / "a.txt").chmod(0)
    assert of(folder)["a.txt"] == ""


def test_of_a_folder_that_cannot_be_read_the_name_is_not_told(folder, monkeypatch):
    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(VesselrlError, match=r"raw, or a folder.*Permission denied") as caught:
        of(folder)
    assert "deep" not in "".join(traceback.format_exception(caught.value))
