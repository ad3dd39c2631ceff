"""The command of a user who has a Sa2VA model, to the letter, in a copy of the project."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from stand_in import build


@pytest.fixture(scope="module")
def small(project, raw_dir):
    """The project, with small images and sizes for the environment too."""
    local = yaml.safe_load((project / "conf/local/parameters.yml").read_text())
    del local["segmenter"], local["quick_overrides"]
    local["rl"] = local["rl"] | {
        "ppo": {"total_timesteps": 128, "n_envs": 2, "n_steps": 64, "batch_size": 64, "n_epochs": 1}
    }
    local["sa2va_rl"] = {
        "seeds": [42], "max_side": 64, "policy": {"iterations": 2, "check_every": 1}
    }  # fmt: skip
    (project / "conf/sa2va/globals.yml").write_text(yaml.safe_dump({"raw_dir": str(raw_dir)}))
    (project / "conf/sa2va/parameters_small.yml").write_text(yaml.safe_dump(local))
    return project


@pytest.fixture(scope="module")
def kedro(small, tmp_path_factory):
    """Runs a command with the user's model, and gives what it said."""
    folder = tmp_path_factory.mktemp("model")
    model = build(folder / "sa2va_vessel_hf", "internvl")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "kedro", "run", "--env", "sa2va", *arguments, "--params",
             f"segmenter.path={model}"],
            cwd=small, env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
                 "HF_MODULES_CACHE": str(folder / "code")},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_one_command_goes_from_raw_data_to_the_report_with_the_users_model(small, kedro):
    said = kedro()
    assert "Running the Python code that comes with" in said
    data = small / "data"
    prompts = yaml.safe_load((small / "conf/sa2va/parameters_segment.yml").read_text())
    for file in (data / "04_feature/candidates").glob("*.npz"):
        with np.load(file) as stored:
            assert stored["prompts"].tolist() == list(prompts["segmenter"]["prompts"])
            assert len(np.unique(stored["levels"])) > 10  # maps, not masks
    assert pd.read_csv(data / "04_feature/segment_failures.csv").empty
    scores = pd.read_csv(data / "08_reporting/leaderboard.csv")
    assert {"default", "reward_rl"} <= set(scores["method"])
    assert json.loads((data / "08_reporting/verdict.json").read_text())
    assert (data / "08_reporting/final_report.html").exists()


@pytest.mark.slow
def test_the_users_model_after_rl_joins_the_comparison_at_the_cost_of_one_call(small, kedro):
    said = kedro("--pipeline", "sa2va_rl")
    folder = small / "data/06_models/sa2va_rl"
    assert f"Adapters after RL: {folder / 'adapters'}" in said
    assert (folder / "adapters/adapter_model.safetensors").is_file()
    assert (folder / "logs/PPO_1").is_dir()
    kedro("--pipeline", "evaluation")
    scores = pd.read_csv(small / "data/08_reporting/metrics_per_image.csv")
    after = scores[scores["method"] == "sa2va_rl"]
    assert set(after["image"]) == set(scores["image"])
    assert set(after["segmenter_calls"]) == {1}
