"""One project, one set of images and one undisturbed run, for all that is compared with it."""

import shutil
import sys

import pytest
from disturbed import Runs, content, predict

from small_project import copy_project, draw_raw_data, small_settings


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.faults)
        if sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason="kills and limits as Linux has them"))


def settings() -> dict:
    """Small, but every training has several checkpoints, and policies a second seed."""
    given = small_settings()
    given["reward"]["training"] |= {"members": 2, "checks": 2}
    given["rl"] |= {"seeds": [42, 43], "validate_every": 1, "save_freq": 128}
    given["rl"]["ppo"]["total_timesteps"] = 384
    return given


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    raw_dir = folder / "raw"
    raw_dir.mkdir()
    project = folder / "project"
    project.mkdir()
    return Runs(copy_project(project, settings()), draw_raw_data(raw_dir))


@pytest.fixture(scope="session")
def reference(runs, tmp_path_factory):
    """The folder of an undisturbed run, and every change of a file in it, in order."""
    folder = tmp_path_factory.mktemp("reference")
    runs(folder / "out", fault={"log": str(folder / "changes")}).require_success()
    return folder / "out", (folder / "changes").read_text().splitlines()


@pytest.fixture(scope="session")
def expected(reference):
    """What an undisturbed run leaves."""
    return content(reference[0])


@pytest.fixture(scope="session")
def finished(runs, reference, tmp_path_factory):
    """The folder of an undisturbed run in which ``predict`` has run too, and its changes."""
    folder = tmp_path_factory.mktemp("predicted")
    out_dir = shutil.copytree(reference[0], folder / "out")
    predict(runs, out_dir, fault={"log": str(folder / "changes")}).require_success()
    return out_dir, (folder / "changes").read_text().splitlines()
