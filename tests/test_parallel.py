import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesselrl import parallel
from vesselrl.errors import VesselrlError
from vesselrl.parallel import ordered_map


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(parallel, "FEW", 3)


def square(number):
    time.sleep(0.002)
    return number * number, os.getpid()


def fail_at_40(number):
    if number == 40:
        raise VesselrlError("40 is too much.")
    return number


def die_at_40(number):
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order_from_several_processes():
    results = list(ordered_map(square, range(200), workers=2))
    assert [value for value, _ in results] == [n * n for n in range(200)]
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    assert len(processes) == 2


@pytest.mark.parametrize(("count", "workers"), [(3, 2), (0, 2), (100, 1)])
def test_few_items_or_one_worker_stay_in_this_process(count, workers):
    results = ordered_map(lambda number: (number, os.getpid()), range(count), workers)
    assert list(results) == [(number, os.getpid()) for number in range(count)]


def test_items_are_taken_only_as_they_are_needed():
    taken = []
    results = ordered_map(square, (taken.append(n) or n for n in range(100_000)), workers=2)
    for _ in range(10):
        next(results)
    assert len(taken) < 500
    results.close()


def test_an_error_is_that_of_the_first_item_that_fails():
    results = ordered_map(fail_at_40, range(1000), workers=2)
    with pytest.raises(VesselrlError, match="40 is too much"):
        list(results)


def test_a_worker_that_is_killed_is_told_in_a_sentence():
    with pytest.raises(VesselrlError, match="A worker process was killed"):
        list(ordered_map(die_at_40, range(1000), workers=2))


ORPHANS = """
import signal
import time
from vesselrl import parallel
parallel.FEW = 3
if __name__ == "__main__":
    # a shell that starts the tests in the background has SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in parallel.ordered_map(time.sleep, [0.01] * 100_000, workers=2):
        print("works", flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_a_run_that_is_stopped(tmp_path, members, sign):
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == b"works\n"
    assert len(members(process.pid)) > 2
    process.send_signal(sign)
    _, said = process.communicate(timeout=120)
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(process.pid) == []
    assert said.count(b"Traceback") <= 1  # that of the parent, not one of each worker
