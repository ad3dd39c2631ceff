"""One project, one set of images and one undisturbed run, for all that is compared with it."""

import fcntl
import os
import shutil

import pytest
from disturbed import OTHER, Runs, content, predict

from small_project import copy_project, draw_raw_data, small_settings


def settings() -> dict:
    """Small, but every training has several checkpoints, and policies a second seed."""
    given = small_settings()
    given["reward"]["training"] |= {"members": 2, "checks": 2}
    given["rl"] |= {"seeds": [42, 43], "validate_every": 1, "save_freq": 128}
    given["rl"]["ppo"]["total_timesteps"] = 384
    return given


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder by a function if no other worker has, and gives it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name, fill):
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / name).exists():
                unfinished = shared / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)  # where another worker failed
                unfinished.mkdir()
                fill(unfinished)
                unfinished.rename(shared / name)
        return shared / name

    return make


@pytest.fixture(scope="session")
def runs(once):
    project = once("project", lambda folder: copy_project(folder, settings()))
    return Runs(project, once("raw", draw_raw_data))


@pytest.fixture(scope="session")
def reference(runs, once):
    """The folder of an undisturbed run, and every change of a file in it, in order."""

    def fill(folder):
        runs(folder / "out", fault={"log": str(folder / "changes")}).require_success()

    folder = once("reference", fill)
    return folder / "out", (folder / "changes").read_text().splitlines()


@pytest.fixture(scope="session")
def expected(reference):
    """What an undisturbed run leaves."""
    return content(reference[0])


@pytest.fixture(scope="session")
def predicted(runs, reference, once):
    """The folder of an undisturbed run in which ``predict`` has run too, and its changes."""

    def fill(folder):
        out_dir = shutil.copytree(reference[0], folder / "out")
        predict(runs, out_dir, fault={"log": str(folder / "changes")}).require_success()

    folder = once("predicted", fill)
    return folder / "out", (folder / "changes").read_text().splitlines()


@pytest.fixture(scope="session")
def expected_of_others(runs, once):
    """What an undisturbed run with the parameters `OTHER` leaves."""

    def fill(folder):
        runs(folder / "out", params=OTHER).require_success()

    return content(once("others", fill) / "out")
