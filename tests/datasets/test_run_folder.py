import os
import time

import pytest
from kedro.io import DatasetError

from vesselrl.checkpoints import Checkpoints
from vesselrl.datasets.run_folder import RunFolderDataset

PARTS = ("checkpoints/sa2va_rl_1000_steps.zip", "logs/PPO_1/events", "seeds/43/history.csv")
FINAL = ("final_model.zip", "training_info.json")
STATE = "checkpoints/resume/state.pth"
ENDED = time.mktime((2025, 3, 4, 5, 6, 7, 0, 0, -1))
KEPT = "previous/2025-03-04T05-06-07"


def fill(folder, *names, state_of=""):
    """Write files and, if a fingerprint is given, the state of an interrupted training."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
        if name == "final_model.zip":
            os.utime(folder / name, (ENDED, ENDED))
    if state_of:
        Checkpoints(folder / "checkpoints" / "resume").save("state", state_of, {"steps": 1})


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def run_folder(tmp_path):
    return RunFolderDataset(folder=str(tmp_path / "models" / "reward_rl")).load()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models" / "reward_rl"


@pytest.mark.parametrize("resume", [True, False])
def test_a_first_run_finds_nothing_and_makes_nothing(run_folder, tmp_path, resume):
    run_folder.begin("this", resume)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume", [True, False])
def test_a_finished_run_moves_to_previous_under_the_time_it_ended(run_folder, folder, resume):
    fill(folder, *FINAL, *PARTS, state_of="this")
    run_folder.begin("this", resume)
    assert files(folder) == {f"{KEPT}/{part}" for part in (*FINAL, *PARTS, STATE)}
    assert (folder / KEPT / PARTS[0]).read_text() == f"content of {PARTS[0]}"


def test_a_finished_run_of_another_kind_of_model_is_told_by_its_own_file(tmp_path, folder):
    named = RunFolderDataset(folder=str(folder), final="final_model.pth").load()
    fill(folder, "final_model.pth", PARTS[0])
    named.begin("this", resume=True)
    (kept,) = (folder / "previous").iterdir()
    assert files(kept) == {"final_model.pth", PARTS[0]}
    assert files(folder) == {f"previous/{kept.name}/{part}" for part in files(kept)}


def test_an_interrupted_run_stays_to_be_gone_on_with(run_folder, folder):
    fill(folder, *PARTS, "checkpoints/.sa2va_rl_2000_steps.zip.x1y2", state_of="this")
    run_folder.begin("this", resume=True)
    assert files(folder) == {*PARTS, STATE}


def test_what_any_seed_has_reached_is_kept_and_a_seed_without_a_state_starts_clean(
    run_folder, folder
):
    fill(folder, *FINAL[:1], *PARTS)
    fill(folder / "seeds/44", *PARTS[:2], state_of="this")
    fill(folder / "seeds/45", *PARTS[:2], state_of="other")
    run_folder.begin("this", resume=True)
    kept = {f"seeds/44/{part}" for part in (*PARTS[:2], STATE)}
    assert files(folder) == {*FINAL[:1], PARTS[2], *kept}


def test_a_run_interrupted_while_it_was_saved_stays_too(run_folder, folder):
    fill(folder, "final_model.zip", *PARTS, state_of="this")
    run_folder.begin("this", resume=True)
    assert files(folder) == {"final_model.zip", *PARTS, STATE}


@pytest.mark.parametrize(
    ("state_of", "resume"), [("other", True), ("this", False), ("", True)],
    ids=["other data", "never resume", "no state yet"],
)  # fmt: skip
def test_what_cannot_be_gone_on_with_is_removed(run_folder, folder, state_of, resume):
    fill(folder, *PARTS, state_of=state_of)
    run_folder.begin("this", resume)
    assert list(folder.iterdir()) == []


def test_a_model_of_other_data_is_moved_even_if_its_run_was_interrupted(run_folder, folder):
    fill(folder, "final_model.zip", *PARTS, state_of="other")
    run_folder.begin("this", resume=True)
    assert files(folder) == {f"{KEPT}/{part}" for part in ("final_model.zip", *PARTS, STATE)}


def test_a_move_that_was_interrupted_is_completed(run_folder, folder):
    fill(folder, *FINAL, PARTS[0])
    fill(folder / KEPT, *PARTS[1:])
    run_folder.begin("this", resume=True)
    assert files(folder) == {f"{KEPT}/{part}" for part in (*FINAL, *PARTS)}


def test_runs_that_ended_at_the_same_time_are_all_kept(run_folder, folder):
    for number in range(3):
        fill(folder, *FINAL, *PARTS)
        (folder / PARTS[0]).write_text(str(number))
        run_folder.begin("this", resume=True)
    kept = [KEPT, f"{KEPT}_2", f"{KEPT}_3"]
    assert files(folder) == {f"{place}/{part}" for place in kept for part in (*FINAL, *PARTS)}
    assert [(folder / place / PARTS[0]).read_text() for place in kept] == ["0", "1", "2"]


def test_earlier_runs_and_other_experiments_stay_untouched(run_folder, folder):
    earlier = "previous/2024-01-01T00-00-00/final_model.zip"
    fill(folder, earlier, *PARTS)
    fill(folder.parent / "prompt_rl", *FINAL, *PARTS)
    run_folder.begin("this", resume=True)
    assert files(folder) == {earlier}
    fill(folder, *FINAL)
    run_folder.begin("this", resume=True)
    assert files(folder) == {earlier, *(f"{KEPT}/{part}" for part in FINAL)}
    assert files(folder.parent / "prompt_rl") == {*FINAL, *PARTS}


def test_the_first_seed_writes_to_the_top_and_others_below(run_folder, folder):
    assert run_folder.name == "reward_rl"
    assert run_folder.of_seed(42, first=42) == folder
    assert run_folder.of_seed(7, first=42) == folder / "seeds" / "7"


def test_nothing_is_saved_through_the_catalog(tmp_path):
    dataset = RunFolderDataset(folder=str(tmp_path))
    with pytest.raises(DatasetError, match="nodes write to it while they run"):
        dataset.save("anything")
