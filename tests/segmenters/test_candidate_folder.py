"""Candidates on disk: what is made again, and what is not."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vesselrl.errors import VesselrlError
from vesselrl.segmenters import base, candidate_folder, gpus
from vesselrl.segmenters.base import PromptsFailed
from vesselrl.segmenters.candidate_folder import CandidateFolder, PendingCandidates
from vesselrl.segmenters.parameters import FilterParameters

PROMPTS = {
    "all": {"scales": [2], "fraction": 0.1, "min_size": 0},
    "large": {"scales": [3], "fraction": 0.05, "min_size": 20},
    "thin": {"scales": [1], "fraction": 0.08, "min_size": 0},
}
TIMES = {"seconds", "gpu_mb"}


def parameters(prompts=PROMPTS, **changes):
    default = next(iter(prompts))
    return FilterParameters(
        **{
            "kind": "ridge", "default_prompt": default, "max_side": 64, "prompts": prompts,
            **changes,
        }
    )  # fmt: skip


def draw(seed, shape=(24, 20)):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def drawn(count, first=0):
    return {f"{seed:03}": partial(draw, seed) for seed in range(first, first + count)}


class Asked:
    """A segmenter that notes what it is asked, and fails on images that it is told to."""

    def __init__(self):
        self.questions = []
        self.fails_on = []
        self.built = 0

    def build(self, settings):
        self.built += 1
        self.prompts = settings.prompts
        return self

    def probabilities(self, image, prompts):
        seed = next(s for s in range(99) if np.array_equal(image, draw(s, image.shape)))
        self.questions.append((seed, tuple(prompts)))
        if seed in self.fails_on:
            raise RuntimeError("out of memory")
        return np.stack([np.full(image.shape, self.prompts[p].fraction) for p in prompts])


@pytest.fixture
def asked(monkeypatch):
    segmenter = Asked()
    monkeypatch.setattr(candidate_folder, "build_segmenter", segmenter.build)
    return segmenter


@pytest.fixture
def make(tmp_path):
    def make(images, settings=None):
        pending = PendingCandidates(images, settings or parameters())
        return CandidateFolder(tmp_path / "candidates").make(pending)

    return make


@pytest.fixture
def stored(tmp_path):
    return lambda: contents(tmp_path / "candidates")


def contents(folder):
    """All that is kept, but for times; NaN as None, which equals itself."""
    return {
        sample: {
            name: None if array.dtype.kind == "f" and np.isnan(array) else array.tolist()
            for name, array in load().items()
            if name not in TIMES
        }
        for sample, load in CandidateFolder(folder).load().items()
    }


def test_what_is_there_is_not_asked_again(make, asked, stored):
    assert not make(drawn(3))
    before = stored()
    asked.questions.clear()
    assert not make(drawn(3))
    assert asked.questions == []
    assert asked.built == 1
    assert stored() == before


@pytest.mark.parametrize(
    ("names", "new"),
    [
        (["all", "large", "thin"], ("thin",)),
        (["thin", "all", "large"], ("thin",)),
        (["large", "thin"], ("thin",)),
        (["large", "all"], None),
        (["large"], None),
    ],
)
def test_a_changed_list_of_prompts_asks_only_the_new_ones(
    make, asked, stored, tmp_path, names, new
):
    make(drawn(2), parameters({n: PROMPTS[n] for n in ("all", "large")}))
    asked.questions.clear()
    changed = parameters({name: PROMPTS[name] for name in names})
    make(drawn(2), changed)
    assert asked.questions == ([(0, new), (1, new)] if new else [])
    CandidateFolder(tmp_path / "afresh").make(PendingCandidates(drawn(2), changed))
    assert stored() == contents(tmp_path / "afresh")
    assert [kept["prompts"] for kept in stored().values()] == [names, names]


def test_an_edited_prompt_is_the_only_one_asked(make, asked, stored):
    make(drawn(1))
    asked.questions.clear()
    assert make(drawn(1), parameters(PROMPTS | {"large": PROMPTS["large"] | {"fraction": 0.4}}))
    assert asked.questions == [(0, ("large",))]
    assert stored()["000"]["levels"][1][0][0] == int(0.4 * 256)


def test_other_settings_of_the_segmenter_ask_everything(make, asked):
    make(drawn(1))
    asked.questions.clear()
    assert make(drawn(1), parameters(max_side=32))
    assert asked.questions == [(0, tuple(PROMPTS))]


def test_maps_of_another_kind_of_segmenter_wait_until_it_comes_again(make, asked, stored, tmp_path):
    make(drawn(2))
    of_ridge = stored()
    asked.questions.clear()
    assert not make(drawn(1), parameters(kind="tophat"))
    assert asked.questions == [(0, tuple(PROMPTS))]
    assert list(stored()) == ["000"]
    asked.questions.clear()
    make(drawn(2))
    assert asked.questions == []
    assert stored() == of_ridge
    assert sorted(p.name for p in tmp_path.iterdir()) == ["candidates", "candidates.tophat"]


def test_another_code_of_the_segmenter_is_asked_everything(make, asked, tmp_path, monkeypatch):
    module = tmp_path / "own_segmenter.py"
    module.write_text("class Own:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(base._CLASSES, "ridge", "own_segmenter:Own")
    make(drawn(1))
    asked.questions.clear()
    make(drawn(1))
    assert asked.questions == []
    module.write_text("class Own:\n    better = True\n")
    assert make(drawn(1))
    assert asked.questions == [(0, tuple(PROMPTS))]


@pytest.mark.parametrize("changes", [{"default_prompt": "thin"}, {"devices": None}])
def test_what_no_map_depends_on_asks_nothing(make, asked, changes):
    make(drawn(1))
    asked.questions.clear()
    make(drawn(1), parameters(**changes))
    assert asked.questions == []


def test_images_that_changed_are_asked_about_and_those_that_are_gone_are_removed(
    make, asked, stored
):
    make(drawn(3))
    asked.questions.clear()
    make({"000": partial(draw, 0), "001": partial(draw, 7)})
    assert asked.questions == [(7, tuple(PROMPTS))]
    assert list(stored()) == ["000", "001"]


def test_an_image_of_the_same_bytes_and_another_shape_is_another_image(make, asked):
    make({"a": partial(draw, 1, (24, 20))})
    asked.questions.clear()
    make({"a": partial(draw, 1, (20, 24))})
    assert asked.questions == [(1, tuple(PROMPTS))]


def test_failed_images_are_tried_again_and_the_log_says_so(make, asked, stored, caplog):
    caplog.set_level("INFO", logger="vesselrl")
    asked.fails_on = [1]
    assert not make(drawn(3))
    assert "RuntimeError: out of memory" in stored()["001"]["error"]
    assert not np.any(stored()["001"]["levels"])
    asked.questions.clear()
    assert not make(drawn(3))
    assert asked.questions == [(1, tuple(PROMPTS))]
    assert "1 images on which the segmenter failed are tried again." in caplog.text
    asked.fails_on = []
    assert make(drawn(3)), "what follows was made from empty maps"
    assert stored()["001"]["error"] == ""
    assert np.all(stored()["001"]["levels"])


def test_a_failure_on_a_new_prompt_leaves_the_earlier_maps(make, asked, stored):
    two = {name: PROMPTS[name] for name in ("all", "large")}
    make(drawn(1), parameters(two))
    asked.fails_on = [0]
    make(drawn(1))
    assert [bool(np.any(levels)) for levels in stored()["000"]["levels"]] == [True, True, False]
    assert "out of memory" in stored()["000"]["error"]
    asked.fails_on = []
    asked.questions.clear()
    make(drawn(1))
    assert asked.questions == [(0, ("thin",))]


def test_of_prompts_that_failed_alone_only_they_are_tried_again(make, asked, stored, monkeypatch):
    def fail_on_large(image, prompts):
        maps = np.full((len(prompts), *image.shape), 0.5, np.float32)
        raise PromptsFailed(maps, {"large": RuntimeError("too large")})

    with monkeypatch.context() as patched:
        patched.setattr(asked, "probabilities", fail_on_large)
        make(drawn(1))
    kept = stored()["000"]
    assert [bool(np.any(levels)) for levels in kept["levels"]] == [True, False, True]
    assert kept["error"] == "1 of 3 prompts failed; first 'large': RuntimeError: too large"
    make(drawn(1))
    assert asked.questions == [(0, ("large",))]
    assert stored()["000"]["error"] == ""


def test_no_image_counts_as_failed_for_a_gpu_that_broke_down(make, asked, monkeypatch, tmp_path):
    asked.fails_on = [1]
    monkeypatch.setattr(gpus, "are_usable", lambda: False)
    with pytest.raises(VesselrlError, match="After '001' failed the GPU cannot be used any more"):
        make(drawn(3))
    assert [file.stem for file in tmp_path.glob("candidates/*.npz")] == ["000"]
    asked.fails_on = []
    asked.questions.clear()
    make(drawn(3))
    assert [seed for seed, _ in asked.questions] == [1, 2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_names_the_file(make, asked, stored, monkeypatch):
    make(drawn(1))
    opened = Path.open

    def onto_a_full_disk(path, mode="r"):
        return opened(Path("/dev/full") if (path.name, mode) == ("001.npz", "wb") else path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", onto_a_full_disk)
        with pytest.raises(OSError, match="No space left") as caught:
            make(drawn(3))
    assert Path(caught.value.filename).name == "001.npz"
    assert "000" in stored()
    assert "001" not in stored()
    make(drawn(3))
    assert list(stored()) == ["000", "001", "002"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip", None])
def test_a_damaged_file_is_made_again(make, asked, stored, tmp_path, damage):
    make(drawn(2))
    whole = stored()
    file = tmp_path / "candidates/000.npz"
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    asked.questions.clear()
    make(drawn(2))
    assert asked.questions == [(0, tuple(PROMPTS))]
    assert stored() == whole


def test_candidates_without_keys_are_made_again(make, asked, tmp_path):
    make(drawn(1))
    file = tmp_path / "candidates/000.npz"
    with np.load(file) as arrays:
        np.savez(file, **{name: array for name, array in arrays.items() if name != "keys"})
    asked.questions.clear()
    make(drawn(1))
    assert len(asked.questions) == 1


def test_removed_maps_are_told(make, asked, caplog):
    caplog.set_level("INFO", logger="vesselrl")
    make(drawn(2))
    make(drawn(2), parameters({"all": PROMPTS["all"]}))
    assert "Maps that nothing uses any more are removed, of: large, thin" in caplog.text


def test_times_of_maps_made_at_different_times_add_up(make, tmp_path, monkeypatch):
    now = [0.0]

    class Slow:
        encoder_passes = 0

        def probabilities(self, image, prompts):
            self.encoder_passes += 1
            now[0] += len(prompts)
            return np.zeros((len(prompts), *image.shape))

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr("vesselrl.segmenters.candidates.time", clock)
    monkeypatch.setattr(candidate_folder, "build_segmenter", lambda _: Slow())
    make(drawn(1), parameters({n: PROMPTS[n] for n in ("all", "large")}))
    make(drawn(1), parameters({n: PROMPTS[n] for n in ("all", "thin")}))
    with np.load(tmp_path / "candidates/000.npz") as arrays:
        assert arrays["seconds"] == 2  # those of a removed map are its own
        assert arrays["encoder_passes"] == 1
        assert np.isnan(arrays["gpu_mb"])


def test_two_processes_make_the_same_as_one(make, stored, tmp_path):
    make(drawn(5), parameters(devices=["cpu", "cpu"]))
    CandidateFolder(tmp_path / "one").make(PendingCandidates(drawn(5), parameters()))
    assert stored() == contents(tmp_path / "one")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["candidates", "one"]


SCRIPT = """
import os, sys, time
from functools import partial
from pathlib import Path
import numpy as np
from vesselrl.segmenters import base
from vesselrl.segmenters.candidate_folder import CandidateFolder, PendingCandidates
from vesselrl.segmenters.parameters import FilterParameters

class Slow:
    def __init__(self, parameters):
        pass

    def probabilities(self, image, prompts):
        with open("asked.txt", "a") as stream:
            stream.write(f"{int(image[0, 0])} {os.getpid()}\\n")
        time.sleep(0.05)
        return np.full((len(prompts), *image.shape), image[0, 0] / 255)

base._CLASSES["ridge"] = f"{__name__}:Slow"

def grey(value):
    return np.full((16, 16), value, np.uint8)

if __name__ == "__main__":
    devices = ["cpu", "cpu"] if sys.argv[1] == "2" else None
    prompts = {name: {"scales": [1], "fraction": 0.1, "min_size": 0} for name in "ab"}
    settings = FilterParameters(
        kind="ridge", default_prompt="a", max_side=64, prompts=prompts, devices=devices
    )
    images = {str(value): partial(grey, value) for value in range(1, 31)}
    CandidateFolder(Path("candidates")).make(PendingCandidates(images, settings))
"""


def start(folder, workers):
    folder.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, script, str(workers)], cwd=folder, stderr=subprocess.PIPE, text=True
    )


def lines(file):
    return file.read_text().splitlines() if file.exists() else []


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path, workers):
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    run = start(folder, workers)
    wait_for(lambda: len(list(folder.glob("candidates/*.npz"))) >= 6)
    run.kill()
    run.communicate()
    time.sleep(0.3)  # its worker processes end
    finished = {file.stem for file in folder.glob("candidates/*.npz")}
    assert 6 <= len(finished) < 30
    (folder / "asked.txt").unlink()
    assert start(folder, workers).wait(60) == 0
    asked = [line.split()[0] for line in lines(folder / "asked.txt")]
    assert sorted([*finished, *asked], key=int) == [str(value) for value in range(1, 31)]
    assert start(whole, 1).wait(60) == 0
    assert contents(folder / "candidates") == contents(whole / "candidates")
    assert not (folder / "candidates.unfinished").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    run = start(tmp_path, 2)
    asked = tmp_path / "asked.txt"
    wait_for(lambda: len(lines(asked)) >= 6)
    victim = int(lines(asked)[-1].split()[1])
    os.kill(victim, signal.SIGKILL)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 0, said
    questions = [line.split()[0] for line in lines(asked)]
    assert len(set(questions)) == 30
    assert len(questions) <= 31  # that of the killed process may be asked again
    assert len(contents(tmp_path / "candidates")) == 30
