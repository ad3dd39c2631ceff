"""Full disks, little memory, clocks that lie, and people: two runs, Ctrl-C, other parameters."""

import os
import re
import resource
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from disturbed import FULL, LONGEST, OTHER, Ended, content, differences, predict

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="kills and limits as Linux has them"),
]


def require_recovered(runs, expected, out_dir):
    runs(out_dir).require_success()
    assert differences(expected, content(out_dir)) == []


def is_begun(out_dir, pattern, process):
    """Wait until a run has written a file."""
    while not list(out_dir.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


# Disks.


FULL_AT = {
    "ingest": "03_primary/masks*",
    "segment": "04_feature/candidates.unfinished/*",
    "checkpoint": "06_models/reward_net/checkpoints/*",
    "learning curves": "06_models/prompt_rl/logs/*",
    "models": "06_models/reward_rl/*final_model.zip*",
    "masks": "07_model_output/*/masks/*",
    "tables": "08_reporting/choices.csv*",
    "ledger": "*fingerprints.json*",
    "report": "08_reporting/*final_report.html*",
}


@pytest.mark.parametrize("files", FULL_AT.values(), ids=FULL_AT)
def test_on_a_full_disk_a_run_says_so_and_ends_well_once_there_is_room(
    runs, expected, tmp_path, files
):
    failed = runs(tmp_path, fault={"files": files, "change": "write", "then": "fill"})
    assert re.fullmatch(FULL, failed.error)
    require_recovered(runs, expected, tmp_path)


@pytest.mark.parametrize("kilobytes", [2, 16, 64])
def test_a_file_that_is_cut_off_while_it_is_written_is_not_left(
    runs, expected, tmp_path, kilobytes
):
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1024 * kilobytes,) * 2)
    assert "File too large" in runs(tmp_path, preexec_fn=limit).error
    require_recovered(runs, expected, tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of three megabytes, in a name space of its own if need be."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m tmpfs {folder} 2>/dev/null"):
        pytest.skip("needs the right to mount a file system")
    yield folder
    os.system(f"umount -l {folder}")


def test_on_a_small_disk_a_run_says_so_and_ends_well_on_a_larger_one(
    runs, expected, small_disk, tmp_path
):
    assert re.fullmatch(FULL, runs(small_disk / "out").error)
    larger = shutil.copytree(small_disk / "out", tmp_path / "out")
    require_recovered(runs, expected, larger)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a file system")
def test_an_output_folder_that_cannot_be_written_to_is_one_sentence(runs, reference, tmp_path):
    out_dir = shutil.copytree(reference[0], tmp_path / "out")
    before = content(out_dir)
    mount = f'mount --bind "{out_dir}" "{out_dir}" && mount -o remount,ro,bind "{out_dir}"'
    done = runs(out_dir, wrapper=["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"])
    assert done.error.startswith(f"Nothing can be written to {out_dir} (Read-only file system): ")
    assert differences(before, content(out_dir)) == []


# Memory.


@pytest.mark.parametrize("megabytes", [550, 650])
def test_a_run_without_enough_memory_says_so_and_ends_well_with_more(
    runs, expected, tmp_path, megabytes
):
    limit = partial(resource.setrlimit, resource.RLIMIT_DATA, (megabytes << 20,) * 2)
    assert "not enough memory" in runs(tmp_path, preexec_fn=limit).error
    require_recovered(runs, expected, tmp_path)


# Clocks.


CLOCKS = {
    "stand still": [{"start": 1e9, "speed": 0}] * 2,
    "are set back and run backwards": [{"start": 2e9, "speed": 1}, {"start": 1e9, "speed": -3600}],
}


@pytest.mark.parametrize("clocks", CLOCKS.values(), ids=CLOCKS)
def test_a_killed_run_is_gone_on_with_whatever_the_clocks(runs, expected, tmp_path, clocks):
    states = "06_models/reward_rl/seeds/43/checkpoints/resume/*.pth"
    fault = {"files": states, "change": "replace", "count": 2, "later": 0.01}
    killed = runs(tmp_path, fault=fault, clock=clocks[0])
    assert killed.code == -signal.SIGKILL, killed.said
    ended = runs(tmp_path, clock=clocks[1]).require_success()
    assert differences(expected, content(tmp_path)) == []
    assert "Nothing changed, so left as it is: ingest." in ended.said
    assert "8 of 8 images have all their maps already." in ended.said
    assert "goes on after step" in ended.said
    assert re.search(r"Finished in \d+ s\.", ended.said)
    assert len(list((tmp_path / "logs").iterdir())) == 2


@pytest.mark.parametrize("clocks", CLOCKS.values(), ids=CLOCKS)
def test_killed_predictions_are_gone_on_with_whatever_the_clocks(
    runs, reference, predicted, tmp_path, clocks
):
    out_dir = shutil.copytree(reference[0], tmp_path / "out")
    fault = {"files": "07_model_output/predict/masks/*", "change": "replace", "count": 5}
    killed = predict(runs, out_dir, fault=fault, clock=clocks[0])
    assert killed.code == -signal.SIGKILL, killed.said
    predict(runs, out_dir, clock=clocks[1]).require_success()
    assert differences(content(predicted[0]), content(out_dir)) == []


def test_times_of_files_that_lie_change_nothing(runs, reference, expected, tmp_path):
    out_dir = shutil.copytree(reference[0], tmp_path / "out")
    for number, path in enumerate(sorted(out_dir.rglob("*"))):
        os.utime(path, (0, 0) if number % 2 else (4e9, 4e9))
    require_recovered(runs, expected, out_dir)


def test_an_image_that_changes_under_an_old_time_is_noticed(runs, reference, tmp_path):
    raw_dir = shutil.copytree(runs.raw_dir, tmp_path / "raw")
    elsewhere = type(runs)(runs.project, raw_dir)
    out_dir = tmp_path / "out"
    elsewhere(out_dir, "--pipeline", "segment").require_success()
    before = content(out_dir)
    image, other = raw_dir / "images/p00_f0.png", raw_dir / "images/p01_f0.png"
    status = image.stat()
    image.write_bytes(other.read_bytes())
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    elsewhere(out_dir, "--pipeline", "segment").require_success()
    changed = differences(before, content(out_dir))
    assert any("03_primary/images/p00_f0.png" in line for line in changed)


# People.


def test_of_two_runs_in_one_folder_the_second_is_refused_and_the_first_is_right(
    runs, expected, tmp_path
):
    first = runs.start(tmp_path)
    is_begun(tmp_path, "03_primary/images/*.png", first)
    second = runs(tmp_path)
    assert re.fullmatch(
        rf"Another run is writing to {tmp_path} \(process {first.pid}, since .*\): wait until it "
        r"has ended, or give another out_dir\.",
        second.error,
    )
    said, _ = first.communicate(timeout=LONGEST)
    Ended(first.returncode, said).require_success()
    assert differences(expected, content(tmp_path)) == []


def test_of_two_runs_that_start_at_once_one_is_right_whatever_becomes_of_the_other(
    runs, expected, tmp_path
):
    both = [runs.start(tmp_path) for _ in range(2)]
    ended = [Ended(process.returncode, process.communicate(timeout=LONGEST)[0]) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0, [one.said for one in ended]
    assert differences(expected, content(tmp_path)) == []


KILLED_IN = {
    "a training of networks": "06_models/reward_net/checkpoints/*.pth",
    "a training of policies": "06_models/prompt_rl/checkpoints/resume/*.pth",
    "the evaluation": "07_model_output/*/masks/*.png",
}


@pytest.mark.parametrize("files", KILLED_IN.values(), ids=KILLED_IN)
def test_other_parameters_after_a_kill_leave_nothing_of_the_first(
    runs, expected_of_others, tmp_path, files
):
    killed = runs(tmp_path, fault={"files": files, "change": "replace", "count": 2})
    assert killed.code == -signal.SIGKILL, killed.said
    runs(tmp_path, params=OTHER).require_success()
    assert differences(expected_of_others, content(tmp_path)) == []


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.8, 0.95])
def test_ctrl_c_ends_a_run_in_a_line_and_without_half_files(
    runs, reference, expected, tmp_path, share
):
    count = max(1, int(share * len(reference[1])))
    stopped = runs(
        tmp_path,
        fault={"count": count, "then": "interrupt", "later": 0.01},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    assert stopped.code == 130, stopped.said
    assert "Interrupted. The same command goes on from what is finished." in stopped.said
    assert "Traceback" not in stopped.said
    assert [p for p in tmp_path.rglob(".*") if p.name != ".masks.tsv"] == []
    assert not list(tmp_path.rglob("*.unfinished"))
    require_recovered(runs, expected, tmp_path)


def test_predictions_on_a_full_disk_say_so_and_end_well_once_there_is_room(
    runs, reference, predicted, tmp_path
):
    out_dir: Path = shutil.copytree(reference[0], tmp_path / "out")
    fault = {"files": "07_model_output/predict/*", "change": "write", "count": 5, "then": "fill"}
    assert re.fullmatch(FULL, predict(runs, out_dir, fault=fault).error)
    predict(runs, out_dir).require_success()
    assert differences(content(predicted[0]), content(out_dir)) == []
