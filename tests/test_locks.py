"""What is installed is what was tested, and its content is known."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([\w.-]+)==([^\s;\\+]+)( *;)?", re.MULTILINE)


def simple(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(file: str) -> dict[str, str]:
    """Package → version, of those for every platform."""
    found = PINNED.findall((ROOT / file).read_text())
    return {simple(name): version for name, version, marker in found if not marker}


def test_the_environment_has_the_versions_of_the_lock():
    locked, hashed = versions("requirements.lock"), versions("requirements.hashes")
    assert len(hashed) > 100
    assert {name: locked.get(name) for name in hashed} == hashed


@pytest.mark.parametrize("file", ["requirements", "requirements-cpu", "requirements-cuda"])
def test_every_file_that_is_installed_has_a_hash(file):
    first, *packages = re.split(
        r"^(?=\S)", (ROOT / f"{file}.hashes").read_text(), flags=re.MULTILINE
    )[1:]
    assert first.startswith("#")
    for package in packages:
        assert PINNED.match(package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", package), package


def test_every_package_is_in_the_list_of_licences():
    text = (ROOT / "docs/licences.md").read_text()
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| ")]
    listed = {simple(row[1].strip()): row[2].strip() for row in rows[1:]}
    expected = versions("requirements.hashes")
    assert {name: listed.get(name, "").split("+")[0] for name in expected} == expected
