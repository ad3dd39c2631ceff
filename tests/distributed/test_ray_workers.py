import logging
import os
import re
import signal
import socket
import sys
from functools import partial

import numpy as np
import pytest

from vesselrl.distributed.parameters import RayParameters
from vesselrl.distributed.ray_workers import map_on_ray
from vesselrl.errors import VesselrlError
from vesselrl.segmenters.candidate_folder import CandidateFolder, PendingCandidates
from vesselrl.segmenters.parameters import FilterParameters
from vesselrl.workers import DeviceLostError

TWO = RayParameters(num_workers=2, gpus_per_worker=0, address=None)


def items(count):
    return [(f"item {number}", number) for number in range(count)]


class Square:
    """Notes what it has done, and loses its worker at some items in the way it is told."""

    def __init__(self, folder, kills=(), loses_device=(), times=1):
        self.folder, self.kills, self.loses_device = folder, kills, loses_device
        self.times = times

    def __call__(self, item):
        name, number = item
        begun = len(list(self.folder.glob(f"{name}.*")))
        (self.folder / f"{name}.{os.getpid()}.{begun}").touch()
        if number in self.loses_device and begun < self.times:
            raise DeviceLostError("The GPU cannot be used any more.")
        if number in self.kills and begun < self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]

    def begun(self):
        return sorted(file.name.split(".")[0] for file in self.folder.iterdir())


def answer_and_log(item):
    logging.getLogger("vesselrl.somewhere").warning("at %s", item[0])
    if item[1] == 1:
        raise VesselrlError("There are no weights.")
    if item[1] == 2:
        raise KeyError("not there")


class CannotArrive:
    def __reduce__(self):
        return int, ("no number",)


def test_each_item_is_done_once_in_another_process_that_sees_no_gpu(cluster, tmp_path):
    work = Square(tmp_path)
    done = list(map_on_ray(work, items(30), TWO))
    assert sorted(value for value, _, _ in done) == [n * n for n in range(30)]
    assert work.begun() == sorted(name for name, _ in items(30))
    assert os.getpid() not in {process for _, process, _ in done}
    assert {gpus for _, _, gpus in done} == {""}
    assert cluster.is_initialized()  # it was there before, and stays


def test_no_items_need_no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(map_on_ray(Square(None), [], TWO)) == []


def test_the_item_of_a_lost_worker_is_done_by_a_new_one_and_all_come_once(
    cluster, tmp_path, caplog
):
    work = Square(tmp_path, kills=[5, 19], loses_device=[9])
    done = list(map_on_ray(work, items(20), TWO))
    assert sorted(value for value, _, _ in done) == [n * n for n in range(20)]
    assert set(work.begun()) == {name for name, _ in items(20)}
    assert re.search("A Ray worker was lost while at .*item 5.*; another takes", caplog.text)
    assert "The GPU cannot be used any more." in caplog.text


def test_an_item_that_kills_every_worker_is_named_when_all_else_is_done(cluster, tmp_path):
    done = []
    work = Square(tmp_path, kills=[3], times=99)
    with pytest.raises(VesselrlError, match="Each of these cost 3 workers.*: item 3. All else"):
        done.extend(map_on_ray(work, items(6), TWO))
    assert sorted(value for value, _, _ in done) == [0, 1, 4, 16, 25]
    assert work.begun().count("item 3") == 3


def test_errors_and_what_is_logged_come_back(cluster, caplog):
    with pytest.raises(VesselrlError, match="There are no weights"):
        list(map_on_ray(answer_and_log, items(2), TWO))
    with pytest.raises(RuntimeError, match="(?s)On Ray:.*in answer_and_log.*KeyError"):
        list(map_on_ray(answer_and_log, items(3)[2:], TWO))
    assert [r.message for r in caplog.records if r.name == "vesselrl.somewhere"][-1] == "at item 2"


def test_workers_that_cannot_start_are_told_in_a_sentence(cluster):
    with pytest.raises(VesselrlError, match="do not start on Ray, 3 in.*ValueError.*'no number'"):
        list(map_on_ray(CannotArrive(), items(2), TWO))


def test_a_cluster_that_does_not_answer_is_told_in_a_sentence(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'vesselrl[ray]'")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:  # by nobody who listens
        taken.bind(("127.0.0.1", 0))
        nobody = TWO.model_copy(update={"address": f"127.0.0.1:{taken.getsockname()[1]}"})
        with pytest.raises(VesselrlError, match="No Ray answers at ray.address '127"):
            list(map_on_ray(answer_and_log, items(1), nobody))


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VesselrlError, match=r"pip install 'vesselrl\[ray\]'"):
        list(map_on_ray(answer_and_log, items(1), TWO))


def draw(seed):
    return np.random.default_rng(seed).integers(0, 255, (40, 32), dtype=np.uint8)


def contents(folder):
    """Sample → name of an array → its bytes, times apart."""
    return {
        sample: {n: a.tobytes() for n, a in load().items() if n not in ("seconds", "gpu_mb")}
        for sample, load in CandidateFolder(folder).load().items()
    }


def test_candidates_made_on_ray_are_those_made_here_and_are_not_made_again(cluster, tmp_path):
    prompt = {"scales": [2], "fraction": 0.1, "min_size": 0}
    parameters = FilterParameters(
        kind="ridge", default_prompt="all", max_side=64, prompts={"all": prompt}
    )
    images = {f"{seed:02}": partial(draw, seed) for seed in range(6)}
    here, there = tmp_path / "here", tmp_path / "there"
    CandidateFolder(here).make(PendingCandidates(images, parameters))
    CandidateFolder(there).make(PendingCandidates(dict(list(images.items())[:2]), parameters))
    first = {file: file.stat().st_mtime_ns for file in there.iterdir()}
    CandidateFolder(there).make(PendingCandidates(images, parameters, TWO))
    assert contents(there) == contents(here)
    assert {file: file.stat().st_mtime_ns for file in first} == first
    assert [folder.name for folder in tmp_path.iterdir() if "unfinished" in folder.name] == []
