import errno
import os

import pytest

from vesselrl.files import LOCK, UNFINISHED, remove_unfinished, unused, write_atomically


def test_an_error_of_the_stream_names_the_file_and_leaves_the_old_one_alone(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")

    def fill(stream):
        stream.write(b"new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left") as caught:
        write_atomically(file, fill)
    assert caught.value.filename == str(file)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert file.read_text() == "old"


def killed(file):
    """What a process that was killed while it wrote a file leaves."""

    def look(stream):
        (beside,) = file.parent.glob(f".{file.name}.*")
        half = file.parent / f"{beside.name.removesuffix(UNFINISHED)[:-1]}0{UNFINISHED}"
        half.write_bytes(b"half")

    write_atomically(file, look)


def test_what_killed_runs_left_half_written_goes_and_nothing_else(tmp_path):
    files = {tmp_path / "a.csv", tmp_path / "deep/b.npz"}
    for file in files:
        killed(file)
    names = (".hidden", f"mine{UNFINISHED}", f".film{UNFINISHED}", f".album{UNFINISHED}/1.png")
    kept = {tmp_path / name for name in (*names, "deep/.masks.tsv")}
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.write_text("kept")
    remove_unfinished(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == files | kept


def test_in_a_folder_that_another_run_writes_to_nothing_is_removed(tmp_path):
    (tmp_path / LOCK).touch()
    killed(tmp_path / "quick/a.csv")
    (tmp_path / "quick" / LOCK).touch()
    before = set(tmp_path.rglob("*"))
    remove_unfinished(tmp_path)
    assert set(tmp_path.rglob("*")) == before


def test_a_name_that_is_used_gets_a_number(tmp_path):
    names = ["run.log", "run_2.log", "run_3.log"]
    for name in names:
        assert unused(tmp_path / "run.log") == tmp_path / name
        (tmp_path / name).touch()
