"""Ingest of so many images that worker processes read and write them, and what befalls these."""

import re
import signal
import sys
import time

import pytest
from disturbed import FULL, Runs, content, differences

from small_project import draw_raw_data
from vesselrl.hashes import _SETTLED_NS
from vesselrl.parallel import FEW

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="kills and limits as Linux has them"),
]
PATIENTS = 2 * FEW // 3
ALL = "ingest.workers=2,split.max_images={train: null, val: null, test: null, unlabelled: null}"


@pytest.fixture(scope="module")
def ingest(runs, once):
    def fill(folder):
        draw_raw_data(folder, PATIENTS)
        time.sleep(_SETTLED_NS / 1e9)  # else the first run alone would not remember the hashes

    many = Runs(runs.project, once("many", fill))
    return lambda out_dir, **fault: many(
        out_dir, "--pipeline", "ingest", params=ALL, fault=fault or None
    )


@pytest.fixture(scope="module")
def ingested(ingest, once):
    folder = once("ingested", lambda folder: ingest(folder / "out").require_success())
    return content(folder / "out")


def require_recovered(ingest, ingested, out_dir):
    ingest(out_dir).require_success()
    assert len(list((out_dir / "03_primary/masks").iterdir())) == 2 * PATIENTS
    assert differences(ingested, content(out_dir)) == []


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_run_whose_worker_is_killed_says_so_and_ends_well_the_next_time(
    ingest, ingested, tmp_path, folder
):
    failed = ingest(tmp_path, files=f"03_primary/{folder}/*", change="replace", count=20)
    assert failed.error.startswith("A worker process was killed")
    require_recovered(ingest, ingested, tmp_path)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_run_killed_while_its_workers_write_ends_as_if_it_had_not_been(
    ingest, ingested, tmp_path, folder
):
    killed = ingest(tmp_path, files=f"cache/{folder}.tsv", change="write")
    assert killed.code == -signal.SIGKILL, killed.said
    require_recovered(ingest, ingested, tmp_path)


def test_workers_on_a_full_disk_are_told_of_as_any_full_disk(ingest, ingested, tmp_path):
    failed = ingest(tmp_path, files="03_primary/masks*", change="write", count=20, then="fill")
    assert re.fullmatch(FULL, failed.error)
    require_recovered(ingest, ingested, tmp_path)
