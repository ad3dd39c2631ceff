import json
import stat
import subprocess

import pytest
from kedro.io import DatasetError

from vesselrl.datasets.history import HistoryDataset, LastingJsonDataset
from vesselrl.datasets.private import PrivateJsonDataset, PrivateKeyDataset


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "out" / "00_private" / "key.json"


@pytest.fixture
def names_file(tmp_path):
    return tmp_path / "out" / "00_private" / "names.json"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_drawn_when_first_asked_for_and_kept(key_file):
    get = PrivateKeyDataset(filepath=str(key_file)).load()
    assert not key_file.parent.exists()
    key = get()
    assert len(key) == 32
    assert PrivateKeyDataset(filepath=str(key_file)).load()() == get() == key
    assert sorted(one.name for one in key_file.parent.iterdir()) == [".gitignore", "key.json"]


def test_two_keys_are_different(tmp_path):
    keys = {PrivateKeyDataset(filepath=str(tmp_path / f"{i}/key")).load()() for i in range(3)}
    assert len(keys) == 3


def test_only_the_owner_can_read_what_is_private(key_file, names_file):
    PrivateKeyDataset(filepath=str(key_file)).load()()
    PrivateJsonDataset(filepath=str(names_file)).save({"files": {"img-1": "Anna.png"}})
    assert mode(key_file) == mode(names_file) == mode(key_file.parent / ".gitignore") == 0o600
    assert mode(key_file.parent) == 0o700


def test_git_ignores_the_private_folder(tmp_path, key_file):
    PrivateKeyDataset(filepath=str(key_file)).load()()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    status = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, check=True, capture_output=True
    )
    assert status.stdout == b""


def test_a_key_drawn_by_another_process_meanwhile_is_not_replaced(key_file):
    dataset = PrivateKeyDataset(filepath=str(key_file))
    key = dataset.load()()
    dataset._draw()
    assert dataset.load()() == key


def test_a_file_system_without_links_will_do(key_file, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("os.link", refuse)
    dataset = PrivateKeyDataset(filepath=str(key_file))
    assert dataset.load()() == dataset.load()()
    assert mode(key_file) == 0o600


@pytest.mark.parametrize("content", ["", "[]", '{"key": "00"}', '{"key": 3}', '{"kee": ""}'])
def test_a_damaged_key_is_told_and_left_alone(key_file, content):
    key_file.parent.mkdir(parents=True)
    key_file.write_text(content)
    dataset = PrivateKeyDataset(filepath=str(key_file))
    with pytest.raises(Exception, match="holds no key of 32 bytes: restore it, or delete it"):
        dataset.load()()
    assert key_file.read_text() == content


def test_who_keeps_no_secrets_gets_no_folder(names_file):
    dataset = PrivateJsonDataset(filepath=str(names_file))
    for nothing in ({}, {"files": {}, "groups": {}}):
        dataset.save(nothing)
    assert not names_file.parent.exists()
    assert dataset.exists()
    assert dataset.load() == {}


def test_names_are_kept_and_replaced(names_file):
    dataset = PrivateJsonDataset(filepath=str(names_file))
    dataset.save({"a": "\ud800"})
    assert dataset.load() == {"a": "\ud800"}
    dataset.save({})
    assert json.loads(names_file.read_text()) == {}
    names_file.unlink()
    assert not dataset.exists()


def test_damaged_names_are_told(names_file):
    dataset = PrivateJsonDataset(filepath=str(names_file))
    dataset.save({"a": "b"})
    names_file.write_text("{")
    with pytest.raises(DatasetError, match="is damaged: delete it and run again"):
        dataset.load()


@pytest.mark.parametrize("of", [PrivateKeyDataset, HistoryDataset])
def test_what_is_read_only_cannot_be_saved(tmp_path, of):
    with pytest.raises(DatasetError):
        of(filepath=str(tmp_path / "x.json")).save({"a": "b"})
    assert not any(tmp_path.iterdir())


def test_an_earlier_run_is_read_where_there_was_one(tmp_path):
    file = tmp_path / "x.json"
    dataset = HistoryDataset(filepath=str(file))
    assert dataset.exists()
    assert dataset.load() is None
    lasting = LastingJsonDataset(filepath=str(file))
    assert not lasting.exists()
    lasting.save({"groups": {"a": "val"}})
    assert dataset.load() == lasting.load() == {"groups": {"a": "val"}}
    file.write_text("{")
    with pytest.raises(DatasetError, match="which an earlier run left, is damaged"):
        dataset.load()


def test_what_a_later_run_reads_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "x.json"
    lasting = LastingJsonDataset(filepath=str(file))
    lasting.save({"groups": {}})
    with pytest.raises(DatasetError):
        lasting.save({"groups": {"a": object()}})
    assert lasting.load() == {"groups": {}}
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]
