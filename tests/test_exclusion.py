"""One run at a time in an output folder."""

import errno
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset

from vesselrl.errors import VesselrlError
from vesselrl.files import LOCK
from vesselrl.hooks import exclusion
from vesselrl.hooks.exclusion import ExclusionHooks

HOLD = """
import signal, sys
from kedro.io import DataCatalog, MemoryDataset
from vesselrl.hooks.exclusion import ExclusionHooks
# A shell that starts the tests in the background has SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
hooks = ExclusionHooks()
hooks.before_pipeline_run(DataCatalog({"params:out_dir": MemoryDataset(sys.argv[1])}))
print("held", flush=True)
input()
"""


HALF = ".table.csv.x1y2z3_4.part"


def refuse(*_):
    """As a network file system may that has no locks."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def catalog(out_dir):
    return DataCatalog({"params:out_dir": MemoryDataset(str(out_dir))})


@pytest.fixture
def other(tmp_path):
    """Another process, which runs in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path, other):
    with pytest.raises(VesselrlError, match=rf"writing to {tmp_path} \(process {other.pid}, since"):
        ExclusionHooks().before_pipeline_run(catalog(tmp_path))


def test_another_folder_is_free(tmp_path, other):
    hooks = ExclusionHooks()
    hooks.before_pipeline_run(catalog(tmp_path / "quick"))
    hooks.after_pipeline_run()


def test_after_a_process_that_is_interrupted_the_folder_is_free_and_tidy(tmp_path, other):
    (tmp_path / HALF).write_text("half")
    other.send_signal(signal.SIGINT)
    other.wait()
    assert list(tmp_path.iterdir()) == []


def test_after_a_process_that_is_killed_the_folder_is_free_and_tidied(tmp_path, other):
    (tmp_path / HALF).write_text("half")
    other.kill()
    other.wait()
    assert (tmp_path / LOCK).exists()
    hooks = ExclusionHooks()
    hooks.before_pipeline_run(catalog(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    hooks.on_pipeline_error()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_interrupted_in_a_process_does_not_keep_the_next_one_out(tmp_path):
    hooks = ExclusionHooks()
    hooks.before_pipeline_run(catalog(tmp_path))
    (tmp_path / HALF).write_text("half")
    hooks.before_pipeline_run(catalog(tmp_path))
    hooks.after_pipeline_run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("locks", [None, SimpleNamespace(LOCK_EX=2, LOCK_NB=4, flock=refuse)])
def test_without_locks_of_the_system_what_another_run_is_writing_stays(
    tmp_path, monkeypatch, locks
):
    monkeypatch.setattr(exclusion, "fcntl", locks)
    one, other = ExclusionHooks(), ExclusionHooks()
    one.before_pipeline_run(catalog(tmp_path))
    (tmp_path / HALF).write_text("half")
    other.before_pipeline_run(catalog(tmp_path))
    assert (tmp_path / HALF).exists()
    other.before_pipeline_run(catalog(tmp_path))  # as after an interruption
    assert (tmp_path / HALF).exists()
    one.after_pipeline_run()
    other.after_pipeline_run()
    assert [path.name for path in tmp_path.iterdir()] == [HALF]


def test_an_output_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        VesselrlError, match=r"Nothing can be written to .*/file/out \(Not a direct"
    ):
        ExclusionHooks().before_pipeline_run(catalog(tmp_path / "file/out"))
