"""Many images: over several processes, each only once, and whole even if a run is killed."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from PIL import Image

from vesselrl import parallel
from vesselrl.annotations import checking, writing
from vesselrl.annotations.packing import unpack
from vesselrl.annotations.parameters import (
    AnnotationsParameters,
    IngestParameters,
    SplitParameters,
)
from vesselrl.pipelines.ingest import create_pipeline

CONF = Path(__file__).parents[2] / "conf" / "base"
COUNT = 60


def catalog_in(raw_dir, out_dir, workers=1):
    """The catalog and parameters of conf/base for two folders."""
    text = (CONF / "catalog_ingest.yml").read_text()
    text = text.replace("${_raw_dir}", str(raw_dir)).replace("${_out_dir}", str(out_dir))
    catalog = DataCatalog.from_config(yaml.safe_load(text))
    given = yaml.safe_load((CONF / "parameters_ingest.yml").read_text())
    catalog["params:ingest"] = IngestParameters(**given["ingest"] | {"workers": workers})
    catalog["params:annotations"] = AnnotationsParameters(**given["annotations"])
    catalog["params:split"] = SplitParameters(**given["split"])
    catalog["params:pseudonymise"] = given["pseudonymise"]
    catalog["params:seed"] = 42
    return catalog


def ingest(raw_dir, out_dir, workers=1):
    SequentialRunner().run(create_pipeline(), catalog_in(raw_dir, out_dir, workers))


def picture(number, suffix):
    """Grey PNG files, which are taken as they are; others are written anew."""
    pixels = np.random.default_rng(number).integers(0, 256, (40, 50), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG" if suffix == "png" else "JPEG")
    return stream.getvalue()


def entry(number, shift=0):
    x = 3 + (number + shift) % 30
    suffix = "jpg" if number % 5 == 4 else "png"
    name = f"p{number // 3:02}_f{number % 3}.{suffix}"
    return {"image": name, "mask": [[x, 3, x + 12, 5, x + 4, 33]]}


def write_raw(raw_dir, numbers=range(COUNT)):
    (raw_dir / "images").mkdir(parents=True)
    entries = [entry(number) for number in numbers]
    for number, one in zip(numbers, entries, strict=True):
        data = picture(number, one["image"][-3:])
        (raw_dir / "images" / one["image"]).write_bytes(data)
    entries.insert(7, {"image": "p00_f0.png", "mask": []})  # a duplicate
    entries.insert(9, {"image": "none.png", "mask": []})
    write_annotations(raw_dir, entries)
    return raw_dir


def write_annotations(raw_dir, entries):
    (raw_dir / "annotations.json").write_text(json.dumps(entries))


def contents(out_dir):
    """Path → bytes of all results; what makes runs quicker is no result."""
    return {
        str(path.relative_to(out_dir)): path.read_bytes()
        for path in sorted(out_dir.rglob("*"))
        if path.is_file() and path.relative_to(out_dir).parts[0] != "cache"
    }


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory):
    return write_raw(tmp_path_factory.mktemp("data") / "raw")


@pytest.fixture(scope="module")
def usual(raw_dir, tmp_path_factory):
    """The folder of a run in one process that nothing disturbed."""
    out_dir = tmp_path_factory.mktemp("usual")
    ingest(raw_dir, out_dir)
    return out_dir


@pytest.fixture
def few(monkeypatch):
    """Let a handful of images be many."""
    monkeypatch.setattr(parallel, "FEW", 3)


@pytest.fixture
def work(monkeypatch):
    """The images that were checked, written and drawn, as a run goes on."""
    done = {"checked": [], "written": [], "drawn": []}

    def note(kind, owner, method, name_of):
        original = getattr(owner, method)

        def noting(self, *args):
            done[kind].append(name_of(self, *args))
            return original(self, *args)

        monkeypatch.setattr(owner, method, noting)

    def name(_, item):
        return unpack(item[0])["image"]

    note("checked", checking.Check, "__call__", name)
    note("written", writing.ImageMaker, "png", lambda maker: maker.sample)
    note("drawn", writing.MaskMaker, "png", lambda maker: maker.sample)
    return done


def test_several_processes_give_the_same_files_as_one(raw_dir, usual, tmp_path, few):
    ingest(raw_dir, tmp_path, workers=2)
    made = contents(tmp_path)
    assert made == contents(usual)
    assert sum(name.startswith("03_primary/masks/") for name in made) == COUNT


def test_what_did_not_change_is_not_read_again(raw_dir, usual, tmp_path, work):
    out_dir = shutil.copytree(usual, tmp_path / "out")
    ingest(raw_dir, out_dir)
    assert work == {"checked": ["none.png"], "written": [], "drawn": []}
    assert contents(out_dir) == contents(usual)


def test_the_same_files_elsewhere_and_later_are_not_decoded_again(raw_dir, usual, tmp_path, work):
    out_dir = shutil.copytree(usual, tmp_path / "out")
    copied = shutil.copytree(raw_dir, tmp_path / "raw", copy_function=shutil.copyfile)
    ingest(copied, out_dir)
    assert work == {"checked": ["none.png"], "written": [], "drawn": []}


def test_exactly_what_changed_is_made_again_as_a_fresh_run_makes_it(raw_dir, usual, tmp_path, work):
    out_dir = shutil.copytree(usual, tmp_path / "out")
    mine = shutil.copytree(raw_dir, tmp_path / "raw")
    (mine / "images" / "p00_f1.png").write_bytes(picture(500, "png"))  # another image
    entries = json.loads((mine / "annotations.json").read_text())
    of_file = {one["image"]: one for one in entries[::-1]}
    of_file["p01_f0.png"]["mask"] = entry(3, shift=9)["mask"]  # another mask
    entries.remove(of_file["p02_f0.png"])  # one gone
    (mine / "images" / "p02_f1.png").unlink()  # a file gone
    (mine / "images" / "p30_f0.png").write_bytes(picture(501, "png"))
    entries.insert(0, {"image": "p30_f0.png", "mask": []})  # one more, before all others
    write_annotations(mine, entries)
    ingest(mine, out_dir)
    assert sorted(work["checked"]) == [
        "none.png", "p00_f1.png", "p01_f0.png", "p02_f1.png", "p30_f0.png",
    ]  # fmt: skip
    assert sorted(work["written"]) == ["p00_f1", "p30_f0"]
    assert sorted(work["drawn"]) == ["p00_f1", "p01_f0", "p30_f0"]
    # Groups keep their splits from run to run, so a fresh run must know them.
    fresh = tmp_path / "fresh"
    (fresh / "02_intermediate").mkdir(parents=True)
    name = "02_intermediate/split_assignments.json"
    shutil.copy(usual / name, fresh / name)
    ingest(mine, fresh)
    assert contents(out_dir) == contents(fresh)
    assert "03_primary/masks/p02_f0.png" not in contents(out_dir)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\x89PNG")])
def test_a_file_that_is_gone_or_cut_is_written_again(raw_dir, usual, tmp_path, work, damage):
    out_dir = shutil.copytree(usual, tmp_path / "out")
    damage(out_dir / "03_primary/masks/p03_f1.png")
    damage(out_dir / "03_primary/images/p04_f0.png")
    ingest(raw_dir, out_dir)
    assert (work["written"], work["drawn"]) == (["p04_f0"], ["p03_f1"])
    assert contents(out_dir) == contents(usual)


def test_other_code_uses_nothing_that_was_found_out_before(raw_dir, usual, tmp_path, monkeypatch):
    out_dir = shutil.copytree(usual, tmp_path / "out")
    dataset = catalog_in(raw_dir, out_dir).get("earlier_checks")
    before = dataset.fingerprint
    monkeypatch.setattr(checking, "version_of_ingest", lambda: "other")
    assert dataset.fingerprint == "other" != before
    catalog = catalog_in(raw_dir, out_dir)
    counted = []
    original = checking.read_sample
    monkeypatch.setattr(checking, "read_sample", lambda *a: counted.append(1) or original(*a))
    SequentialRunner().run(create_pipeline(), catalog)
    assert len(counted) == COUNT + 2


@pytest.mark.parametrize("workers", [1, 2])
def test_entries_as_deep_as_json_reaches_go_through(raw_dir, tmp_path, few, workers):
    mine = shutil.copytree(raw_dir, tmp_path / "raw")
    entries = [entry(number) for number in range(40)]
    deep = json.loads("[" * 800 + "]" * 800)
    entries[1]["note"] = deep
    entries[2]["mask"] = deep
    write_annotations(mine, entries)
    catalog = catalog_in(mine, tmp_path / "out", workers)
    SequentialRunner().run(create_pipeline(), catalog)
    assert catalog.load("quarantine")["reason"].str.contains("nested deeper").tolist() == [True]
    assert len(catalog.load("masks")) == 39


CHILD = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_ingest_scale
test_ingest_scale.parallel.FEW = 3
if __name__ == "__main__":
    test_ingest_scale.ingest(sys.argv[1], sys.argv[2], workers=2)
"""
MOMENTS = {
    "while entries are checked": ("cache/checks.tsv", 20),
    "while images are written": ("03_primary/images", 17),
    "while masks are written": ("03_primary/masks", 5),
    "while the overview is drawn": ("02_intermediate/ingest_report.json", 1),
}


def amount(path):
    """Lines of a file, files of a folder; 0 where there is neither."""
    try:
        return len(list(path.iterdir())) if path.is_dir() else len(path.read_bytes().splitlines())
    except (FileNotFoundError, IsADirectoryError):  # it came between the two looks
        return 0


@pytest.mark.parametrize(("place", "least"), MOMENTS.values(), ids=MOMENTS.keys())
def test_a_run_that_was_killed_ends_in_the_same_state_when_run_again(
    raw_dir, usual, tmp_path, few, place, least
):
    script, out_dir = tmp_path / "script.py", tmp_path / "out"
    script.write_text(CHILD)
    process = subprocess.Popen(
        [sys.executable, script, raw_dir, out_dir],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while amount(out_dir / place) < least and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert amount(out_dir / place) >= least
    ingest(raw_dir, out_dir, workers=2)
    assert contents(out_dir) == contents(usual)
