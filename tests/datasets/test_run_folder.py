import os
import time

import pytest
from kedro.io import DatasetError

from vesselrl.datasets.run_folder import RunFolderDataset


def fill(folder, *names, ended=None):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    if ended:
        os.utime(folder / "final_model.zip", (ended, ended))


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


PARTS = ("checkpoints/sa2va_rl_1000_steps.zip", "logs/PPO_1/events", "seeds/43/history.csv")
ENDED = time.mktime((2025, 3, 4, 5, 6, 7, 0, 0, -1))


@pytest.fixture
def run_folder(tmp_path):
    return RunFolderDataset(folder=str(tmp_path / "models" / "reward_rl")).load()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models" / "reward_rl"


def test_a_first_run_finds_nothing_and_makes_nothing(run_folder, tmp_path):
    run_folder.begin()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_moves_to_previous_under_the_time_it_ended(run_folder, folder):
    fill(folder, "final_model.zip", *PARTS, ended=ENDED)
    run_folder.begin()
    kept = "previous/2025-03-04T05-06-07"
    assert files(folder) == {f"{kept}/{part}" for part in ("final_model.zip", *PARTS)}
    assert (folder / kept / PARTS[0]).read_text() == f"content of {PARTS[0]}"


def test_an_unfinished_torso_is_removed(run_folder, folder):
    fill(folder, *PARTS, "training_info.json")
    run_folder.begin()
    assert list(folder.iterdir()) == []


def test_earlier_runs_and_other_experiments_stay_untouched(run_folder, folder):
    earlier = "previous/2024-01-01T00-00-00/final_model.zip"
    fill(folder, earlier, *PARTS)
    fill(folder.parent / "prompt_rl", "final_model.zip", *PARTS)
    run_folder.begin()
    assert files(folder) == {earlier}
    fill(folder, "final_model.zip", ended=ENDED)
    run_folder.begin()
    assert files(folder) == {earlier, "previous/2025-03-04T05-06-07/final_model.zip"}
    assert files(folder.parent / "prompt_rl") == {"final_model.zip", *PARTS}


def test_the_first_seed_writes_to_the_top_and_others_below(run_folder, folder):
    assert run_folder.name == "reward_rl"
    assert run_folder.of_seed(42, first=42) == folder
    assert run_folder.of_seed(7, first=42) == folder / "seeds" / "7"


def test_nothing_is_saved_through_the_catalog(tmp_path):
    dataset = RunFolderDataset(folder=str(tmp_path))
    with pytest.raises(DatasetError, match="nodes write to it while they run"):
        dataset.save("anything")
