"""What is installed is what was tested, and its content is known."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([\w.-]+)==([^\s;\\+]+)", re.MULTILINE)


def versions(file: str) -> dict[str, str]:
    found = PINNED.findall((ROOT / file).read_text())
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_environment_has_the_versions_of_the_lock():
    locked, hashed = versions("requirements.lock"), versions("requirements.hashes")
    assert len(locked) > 100
    assert {name: hashed.get(name) for name in locked} == locked


@pytest.mark.parametrize("file", ["requirements.hashes", "requirements-cuda.hashes"])
def test_every_file_that_is_installed_has_a_hash(file):
    first, *packages = re.split(r"^(?=\S)", (ROOT / file).read_text(), flags=re.MULTILINE)[1:]
    assert first.startswith("#")
    for package in packages:
        assert PINNED.match(package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", package), package


def test_the_licence_of_every_locked_package_is_listed():
    rows = (ROOT / "docs/licences.md").read_text().splitlines()
    cells = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in rows if row.startswith("| ")
    ]
    listed = {re.sub(r"[-_.]+", "-", name).lower(): licence for name, _, licence in cells[1:]}
    bare = {"pip", "setuptools", "wheel"}
    assert versions("requirements.lock").keys() - bare <= listed.keys()
    assert not [name for name, licence in listed.items() if licence in ("", "UNKNOWN")]
