"""Runs that are killed, and what the same command makes of what they left."""

import os
import random
import shutil
import signal
import sys

import pytest
from disturbed import content, differences, predict

from vesselrl.files import LOCK

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="kills and limits as Linux has them"),
]
KILLS = int(os.environ.get("KILLS", "30"))
A_MOMENT = 0.4  # seconds


def moments(changes, number):
    """A random change of a file, and whether the kill comes with it or a little later."""
    chance = random.Random(number)
    count = chance.randint(1, len(changes))
    return {"count": count, "later": chance.choice([0, chance.uniform(0, A_MOMENT)])}


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_killed_at_a_random_moment_ends_as_if_it_had_not_been(
    runs, reference, expected, tmp_path, number
):
    fault = moments(reference[1], number)
    killed = runs(tmp_path, fault=fault)
    assert killed.code in (-signal.SIGKILL, 0), killed.said  # one that comes late finds it ended
    runs(tmp_path).require_success()
    assert differences(expected, content(tmp_path)) == [], fault


# Of each stage the moment at which most is at stake.
BAD_MOMENTS = {
    "ingest: between two masks": ("03_primary/masks/*", "replace", 3),
    "ingest: before the ledger knows": ("fingerprints.json", "replace", 1),
    "segment: while writing an image's maps": ("04_feature/candidates.unfinished/*", "write", 2),
    "segmenter: at a later checkpoint": ("06_models/segmenter/checkpoints/*.pth", "replace", 3),
    "segmenter: between weights and their copy": ("06_models/segmenter/networks.safetensors",
                                                   "replace", 1),
    "segmenter: among its examples": ("05_model_input/segmenter_examples/*.npz", "replace", 3),
    "reward_net: at a later checkpoint": ("06_models/reward_net/checkpoints/*.pth", "replace", 2),
    "reward_net: between network and report": ("08_reporting/reward_net_report.json", "*", 1),
    "policies: between log and first checkpoint": ("06_models/prompt_rl/checkpoints/resume/*.pth",
                                                   "replace", 1),
    "policies: between log and later checkpoint": ("06_models/prompt_rl/checkpoints/resume/*.pth",
                                                   "replace", 2),
    "policies: in the second seed": ("06_models/reward_rl/seeds/43/checkpoints/resume/*.pth",
                                     "replace", 2),
    "policies: between models and facts": ("06_models/reward_rl/training_info.json", "*", 1),
    "evaluation: between two masks": ("07_model_output/*/masks/*", "write", 9),
    "evaluation: while scores are written": ("08_reporting/metrics_per_image.csv", "write", 1),
    "recipe: between two forms": ("06_models/recipe/recipe.safetensors", "*", 1),
    "report: between two forms": ("08_reporting/final_report.md", "*", 1),
}  # fmt: skip


@pytest.mark.parametrize("moment", BAD_MOMENTS.values(), ids=BAD_MOMENTS)
def test_a_run_killed_at_the_worst_moment_of_a_stage_ends_as_if_it_had_not_been(
    runs, expected, tmp_path, moment
):
    files, change, count = moment
    killed = runs(tmp_path, fault={"files": files, "change": change, "count": count})
    assert killed.code == -signal.SIGKILL, killed.said
    assert (tmp_path / LOCK).exists()
    runs(tmp_path).require_success()
    assert differences(expected, content(tmp_path)) == []


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    runs, reference, expected, tmp_path
):
    for number in range(1, 6):
        fault = {"count": number * len(reference[1]) // 6, "later": 0.05}
        assert runs(tmp_path, fault=fault).code in (-signal.SIGKILL, 0)
    runs(tmp_path).require_success()
    assert differences(expected, content(tmp_path)) == []


@pytest.mark.parametrize("number", range(max(1, KILLS // 5)))
def test_predictions_killed_at_a_random_moment_end_as_if_they_had_not_been(
    runs, reference, predicted, tmp_path, number
):
    out_dir = shutil.copytree(reference[0], tmp_path / "out")
    fault = moments(predicted[1], number)
    killed = predict(runs, out_dir, fault=fault)
    assert killed.code in (-signal.SIGKILL, 0), killed.said
    predict(runs, out_dir).require_success()
    assert differences(content(predicted[0]), content(out_dir)) == [], fault
