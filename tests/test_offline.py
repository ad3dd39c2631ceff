"""Whole runs reach for no network, and need none."""

import os
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.faults

GUARD = """
import ipaddress
import os
import socket
import traceback


def guarded(name):
    original = getattr(socket.socket, name)

    def call(self, *arguments):
        address = arguments[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            tell(name, address)
        return original(self, *arguments)

    return call


def is_local(host):
    try:
        return host in ("", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def look_up(host, *arguments, **options):
    if host is not None and not is_local(host.decode() if isinstance(host, bytes) else host):
        tell("getaddrinfo", host)
    return getaddrinfo(host, *arguments, **options)


def tell(name, address):
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(f"{name} {address}\\n" + "".join(traceback.format_stack()))
    raise OSError(f"no network: {name} {address}")


for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, guarded(name))
getaddrinfo, socket.getaddrinfo = socket.getaddrinfo, look_up
"""
"""Runs in every Python process that is started, as its sitecustomize."""

QUIETING = ("DO_NOT_TRACK", "KEDRO_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
            "HF_HUB_DISABLE_TELEMETRY", "CI")  # fmt: skip
"""Whoever sets none of these must be as safe."""


def without_network() -> list[str]:
    """A command before a command, that leaves it no network at all, where this may be had."""
    prefix = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare"):
        return []
    return prefix if not subprocess.run([*prefix, "true"], check=False).returncode else []


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Runs a Python command without network; gives what it said and what it tried."""
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD)

    def run(*arguments, cwd=folder) -> tuple[subprocess.CompletedProcess[str], str]:
        log = folder / "log.txt"
        log.write_text("")
        environment = {name: value for name, value in os.environ.items() if name not in QUIETING}
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {
            "NETWORK_LOG": str(log), "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        done = subprocess.run(
            [*without_network(), sys.executable, *arguments],
            cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        return done, log.read_text()

    return run


@pytest.mark.parametrize(
    ("code", "tried"),
    [
        ("import urllib.request as u; u.urlopen('http://example.org', timeout=5)", "getaddrinfo"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 5)", "192.0.2.1"),
        ("import socket; socket.socket(2, 2).sendto(b'x', ('192.0.2.1', 53))", "sendto"),
    ],
)
def test_an_attempt_would_be_noticed(offline, code, tried):
    done, attempts = offline("-c", code)
    assert done.returncode
    assert tried in attempts


@pytest.fixture(scope="module")
def ran(offline, project, raw_dir, tmp_path_factory):
    """All of the quick run, predictions and a bundle."""
    out = tmp_path_factory.mktemp("out")
    new = tmp_path_factory.mktemp("new")
    for number in range(3):
        shutil.copy(raw_dir / f"images/p0{number}_f0.png", new)
    params = f"quick:true,raw_dir={raw_dir},input_dir={new},out_dir={out},bundling.onnx:true"
    pipelines = "__default__,predict,bundle"
    done, attempts = offline(
        "-m", "kedro", "run", "--pipelines", pipelines, "--params", params, cwd=project
    )
    assert done.returncode == 0, done.stderr
    return out / "quick", attempts


def test_the_whole_pipeline_predict_and_bundle_reach_for_no_network(ran):
    folder, attempts = ran
    assert (folder / "08_reporting/final_report.html").is_file()
    assert len(list((folder / "07_model_output/predict/masks").iterdir())) == 3
    assert attempts == ""


def test_a_bundle_predicts_without_a_network(offline, ran, raw_dir):
    folder, _ = ran
    code = (
        "import numpy, sys, vesselrl; from PIL import Image; "
        "image = numpy.array(Image.open(sys.argv[2])); "
        "print(vesselrl.load_bundle(sys.argv[1]).predict(image).mask.shape)"
    )
    image = raw_dir / "images/p00_f0.png"
    done, attempts = offline("-c", code, str(folder / "06_models/bundle"), str(image))
    assert done.stdout.strip() == "(64, 64)", done.stderr
    assert attempts == ""


@pytest.mark.parametrize(
    "page", ["08_reporting/final_report.html", "07_model_output/predict/review.html"]
)
def test_a_page_loads_nothing_from_elsewhere(ran, page):
    text = (ran[0] / page).read_text()
    loads = r"(?:\bsrc|<link[^>]*\bhref)\s*=\s*[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//"
    loads += r"|@import|\bfetch\(|XMLHttpRequest|import\("
    assert not re.findall(loads, text)


def test_the_flowchart_is_built_without_a_network(offline, project):
    done, attempts = offline("-m", "kedro", "viz", "build", cwd=project)
    assert done.returncode == 0, done.stderr
    assert attempts == ""
