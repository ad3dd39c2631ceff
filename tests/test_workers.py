import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vesselrl.errors import VesselrlError
from vesselrl.workers import DeviceLostError, map_on_devices


def items(count):
    return [(f"item {number}", number) for number in range(count)]


def square(item):
    time.sleep(0.02)
    return item[1] ** 2, os.getpid()


def tell_gpus(item):
    return os.environ["CUDA_VISIBLE_DEVICES"]


def log(item):
    logging.getLogger("vesselrl.somewhere").warning("at %s", item[0])
    try:
        raise ValueError("a detail")
    except ValueError:
        logging.getLogger("vesselrl.somewhere").debug("why", exc_info=True)


class DieOnce:
    """Kills its process at one item, the first time that any process comes to it."""

    def __init__(self, mark, victim):
        self.mark, self.victim = mark, victim

    def __call__(self, item):
        time.sleep(0.02)
        if item[1] == self.victim and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item[1]


def die_at_3(item):
    if item[1] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item[1]


class LoseDeviceOnce(DieOnce):
    """The same, of whoever cannot go on and says so."""

    def __call__(self, item):
        time.sleep(0.02)
        if item[1] == self.victim and not self.mark.exists():
            self.mark.touch()
            raise DeviceLostError("The GPU cannot be used any more.")
        return item[1]


class SetsUpLogging:
    """Does it where it arrives, as importing Kedro does, and tells what is left of it."""

    def __init__(self, *handlers):
        logging.getLogger("vesselrl").handlers += handlers

    def __reduce__(self):
        return SetsUpLogging, (logging.NullHandler(),)

    def __call__(self, item):
        return len(logging.getLogger("vesselrl").handlers)


def refuse(item):
    raise VesselrlError("There are no weights.")


def fail(item):
    raise KeyError("not there")


def test_each_item_is_done_once_by_one_of_the_processes():
    done = list(map_on_devices(square, items(30), ["cpu", "cpu"]))
    assert sorted(value for value, _ in done) == [n * n for n in range(30)]
    processes = {process for _, process in done}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_without_devices_the_work_is_done_in_order_in_this_process():
    done = map_on_devices(lambda item: (item[1], os.getpid()), items(3), None)
    assert list(done) == [(number, os.getpid()) for number in range(3)]


def test_there_are_no_more_processes_than_items():
    assert {pid for _, pid in map_on_devices(square, items(0), ["cpu"])} == set()
    assert len({pid for _, pid in map_on_devices(square, items(1), ["cpu"] * 3)}) == 1


def test_the_item_of_a_process_that_is_killed_is_done_by_another(tmp_path, caplog):
    work = DieOnce(tmp_path / "mark", victim=5)
    done = list(map_on_devices(work, items(20), ["cpu", "cpu"]))
    assert sorted(done) == list(range(20))
    assert "on the CPU ended with exit code -9 while at 'item 5'; 1 go on." in caplog.text


def test_the_item_of_a_process_that_lost_its_device_is_done_by_another(tmp_path, caplog):
    work = LoseDeviceOnce(tmp_path / "mark", victim=5)
    done = list(map_on_devices(work, items(20), ["cpu", "cpu"]))
    assert sorted(done) == list(range(20))
    assert "On the CPU: The GPU cannot be used any more." in caplog.text


def test_the_last_item_of_all_is_not_lost_with_its_process(tmp_path):
    work = DieOnce(tmp_path / "mark", victim=1)
    assert sorted(map_on_devices(work, items(2), ["cpu", "cpu"])) == [0, 1]


def test_when_all_processes_are_killed_all_else_has_been_done():
    done = []
    results = map_on_devices(die_at_3, items(9), ["cpu", "cpu"])
    with pytest.raises(VesselrlError, match="All worker processes were killed.*'item 3'"):
        done.extend(results)
    assert sorted(done) == [0, 1, 2, 4, 5, 6, 7, 8]


def test_an_error_comes_back_from_a_process():
    with pytest.raises(VesselrlError, match="There are no weights"):
        list(map_on_devices(refuse, items(3), ["cpu"]))
    with pytest.raises(RuntimeError, match="(?s)On the CPU:.*in fail.*KeyError: 'not there'"):
        list(map_on_devices(fail, items(3), ["cpu"]))


def test_what_a_process_logs_is_logged_here(caplog):
    caplog.set_level(logging.DEBUG, logger="vesselrl")
    list(map_on_devices(log, items(2), ["cpu"]))
    own = [r for r in caplog.records if r.name == "vesselrl.somewhere"]
    assert [r.getMessage() for r in own[::2]] == ["at item 0", "at item 1"]
    assert "ValueError: a detail" in own[1].getMessage()
    caplog.clear()
    caplog.set_level(logging.WARNING, logger="vesselrl")
    list(map_on_devices(log, items(1), ["cpu"]))
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def test_a_process_says_nothing_but_through_this_one():
    assert list(map_on_devices(SetsUpLogging(), items(1), ["cpu"])) == [0]


def test_a_process_on_the_cpu_sees_no_gpu():
    assert list(map_on_devices(tell_gpus, items(1), ["cpu"])) == [""]


def test_a_gpu_that_is_not_there_is_told_in_a_sentence(monkeypatch):
    with pytest.raises(VesselrlError, match="There is no GPU 99"):
        list(map_on_devices(square, items(1), [99]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    with pytest.raises(VesselrlError, match="There is no GPU 2"):
        list(map_on_devices(square, items(1), [2]))


ORPHANS = """
import time
from vesselrl.workers import map_on_devices

def work(item):
    time.sleep(0.01)

if __name__ == "__main__":
    for _ in map_on_devices(work, [(str(i), i) for i in range(100_000)], ["cpu", "cpu"]):
        print("works", flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_no_worker_outlives_a_run_that_is_killed(tmp_path, members):
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == b"works\n"
    assert len(members(process.pid)) > 2
    process.kill()
    process.communicate(timeout=120)
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(process.pid) == []
