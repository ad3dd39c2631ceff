"""A copy of the project to run commands in, and a handful of drawn images to run them on."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import pytest
from hypothesis import settings

from small_project import copy_project, draw_raw_data, small_settings

# How long an example takes is the machine's matter: a busy one must not fail a test.
settings.register_profile("vesselrl", deadline=None)
settings.load_profile("vesselrl")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project as a fresh clone has it, but for small sizes in ``conf/local``."""
    return copy_project(tmp_path_factory.mktemp("project"), small_settings())


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory) -> Path:
    """A user's data: six patients, two drawn images each, annotated."""
    return draw_raw_data(tmp_path_factory.mktemp("raw"))


@pytest.fixture
def members() -> Callable[[int], list[int]]:
    """Tells which processes of a session are alive."""

    def tell(session: int) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if os.getsid(int(process.name)) == session and state != "Z":
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    return tell


@pytest.fixture(scope="session")
def quick_workers():
    """Worker processes that need not import torch and MONAI each: what forks them has done so."""
    modules = ["vesselrl.rl.pixel.seeds", "vesselrl.reward.training"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    forkserver._forkserver._stop()  # that of earlier tests has not
    forkserver.ensure_running()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if not (driver and program):
        pytest.skip("needs chromium and chromedriver on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as started:
        yield started
