"""The server, asked as docs/serving.md says."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

DOCS = Path(__file__).parents[1] / "docs/serving.md"


@pytest.fixture(scope="module")
def client():
    """The functions of the documented client."""
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def server(project, client, tmp_path_factory):
    """The address of a server of the project."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = tmp_path_factory.mktemp("server") / "said"
    with said.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "server", "start", "--port", str(port)],
            cwd=project, stdout=stream, stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        assert process.poll() is None, said.read_text()
        try:
            client.ask(address, "/health")
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait()


def test_a_pipeline_runs_with_the_parameters_of_the_request(client, server, raw_dir, tmp_path):
    out_dir = tmp_path / "out"
    params = {"raw_dir": str(raw_dir), "out_dir": str(out_dir)}
    answer = client.run(server, "ingest", **params, split={"max_images": {"test": 1}})
    assert answer["run_id"]
    samples = pd.read_csv(out_dir / "02_intermediate/samples.csv")
    assert samples["split"].value_counts().to_dict() == {"train": 4, "val": 2, "test": 1}
    files = {file: file.stat().st_mtime_ns for file in out_dir.glob("03_primary/*/*.png")}
    client.run(server, "ingest", **params)  # the next request has its own
    assert len(pd.read_csv(out_dir / "02_intermediate/samples.csv")) == len(samples) + 1
    assert {file: file.stat().st_mtime_ns for file in files} == files


def test_a_run_that_fails_is_told_in_the_sentence_of_kedro_run(client, server, tmp_path):
    with pytest.raises(RuntimeError, match="Unknown parameter 'rawdir': did you mean raw_dir"):
        client.run(server, "ingest", rawdir="somewhere")
    with pytest.raises(RuntimeError, match="nowhere"):
        client.run(server, "ingest", raw_dir=str(tmp_path / "nowhere"), out_dir=str(tmp_path))


def test_what_is_no_request_is_refused(client, server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        client.ask(server, "/run", {"pipeline": "ingest"})
    assert refused.value.code == 422
    assert json.load(refused.value)["detail"][0]["loc"] == ["body", "pipeline"]
