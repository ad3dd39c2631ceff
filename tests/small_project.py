"""The project in a folder of its own, at the smallest size, and images for it."""

import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw

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
            "scalar": {"side": 32, "channels": [8] * 4, "batch": 4, "iterations": 2},
        },
    }  # fmt: skip


def copy_project(copy: Path, local: dict) -> Path:
    """Fill a folder with the project as a fresh clone has it, but for ``conf/local``."""
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copy(ROOT / ".telemetry", copy)
    for folder in ("conf", "src", "data/01_raw/sample"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("local", "__pycache__")
        )
    (copy / "conf/local").mkdir()
    (copy / "conf/local/parameters.yml").write_text(yaml.safe_dump(local))
    return copy


def draw_raw_data(folder: Path, patients: int = 6) -> Path:
    """Fill a folder with a user's data: two drawn images of each patient, annotated."""
    (folder / "images").mkdir()
    entries = []
    for number in range(2 * patients):
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
