"""A copy of the project to run commands in, and a handful of drawn images to run them on."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings
from PIL import Image, ImageDraw

# How long an example takes is the machine's matter: a busy one must not fail a test.
settings.register_profile("vesselrl", deadline=None)
settings.load_profile("vesselrl")

ROOT = Path(__file__).parents[1]
SIDE = 64


def small_settings() -> dict:
    """Settings for ``conf/local``: the smallest size at which every stage still has work to do."""
    ridge = yaml.safe_load((ROOT / "conf/ridge/parameters_segment.yml").read_text())["segmenter"]
    ppo = {"n_envs": 2, "n_steps": 64, "batch_size": 64, "n_epochs": 1}
    sizes = {
        "split": {"max_images": {"train": 4, "val": 2, "test": 2}},
        "supervised": {"training": {"iterations": 2}, "students": {"iterations": 2}},
        "reward": {"training": {"members": 1, "iterations": 4}},
        "rl": {
            "seeds": [42],
            "allow_unfit_reward": True,
            "ppo": {"total_timesteps": 1024, **ppo},
        },
        "report": {"bootstrap_resamples": 200},
    }
    quick = sizes | {"rl": {"seeds": [42, 43], "ppo": {"total_timesteps": 128, **ppo}}}
    return sizes | {
        "quick_overrides": quick,
        "segmenter": ridge  # the quickest
        | {
            "max_side": SIDE,
            "prompts": {name: p | {"min_size": 0} for name, p in ridge["prompts"].items()},
        },
        "actions": {"thresholds": [0.5]},
        "supervised": {
            "max_side": SIDE,
            "folds": 2,
            "training": {
                "features": [4] * 6, "patch": SIDE, "batch": 2, "iterations": 2, "checks": [0.5, 1],
            },
            "students": {"iterations": 2},
        },
        "reward": {
            "examples": {"max_side": SIDE, "corruptions": 1},
            "training": {
                "members": 1, "features": [4] * 6, "patch": SIDE, "batch": 2, "iterations": 4,
                "checks": 1,
            },
            "scalar": {"side": 32, "channels": [4] * 4, "batch": 4, "iterations": 2},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project as a fresh clone has it, but for small sizes in ``conf/local``."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copy(ROOT / ".telemetry", copy)
    for folder in ("conf", "src", "data/01_raw/sample"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("local", "__pycache__")
        )
    (copy / "conf/local").mkdir()
    (copy / "conf/local/parameters.yml").write_text(yaml.safe_dump(small_settings()))
    return copy


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory) -> Path:
    """A user's data: six patients, two drawn images each, annotated."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "images").mkdir()
    entries = []
    for number in range(12):
        random = np.random.default_rng(number)
        name = f"p{number // 2:02}_f{number % 2}.png"
        image = Image.fromarray(random.normal(150, 6, (SIDE, SIDE)).clip(0, 255).astype(np.uint8))
        left, right = random.integers(12, 44, 2).tolist()
        band = [left, 4, left + 7, 4, right + 7, 59, right, 59]
        ImageDraw.Draw(image).polygon(band, fill=70)
        image.save(folder / "images" / name)
        entries.append({"image": name, "mask": [band]})
    (folder / "annotations.json").write_text(json.dumps(entries))
    return folder


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
