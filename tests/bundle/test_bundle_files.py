import contextlib
import json
import os
import stat
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_methods import put

from vesselrl.bundle import files
from vesselrl.errors import VesselrlError

CONTENT = {"recipe.json": b'{"name": "x"}', "onnx/policy.onnx": bytes(range(256)), "empty": b""}


@pytest.fixture
def folder(tmp_path):
    return put(tmp_path / "bundle", files.with_manifest(CONTENT))


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "bundle.zip"
    path.write_bytes(files.zipped(files.with_manifest(CONTENT)))
    return path


def manifest_of(folder):
    return json.loads((folder / files.MANIFEST).read_text())


def write_manifest(folder, manifest):
    (folder / files.MANIFEST).write_text(json.dumps(manifest))


def zip_of(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as written:
        for name, data in entries:
            written.writestr(name, data)
    return path


def test_folder_and_archive_give_the_same_files_back(folder, archive):
    assert files.read_files(folder) == CONTENT
    assert files.read_files(archive) == CONTENT


def test_the_same_files_give_the_same_archive():
    again = {name: CONTENT[name] for name in reversed(CONTENT)}
    first, second = (files.zipped(files.with_manifest(one)) for one in (CONTENT, again))
    assert first == second


def test_an_archive_that_another_program_compressed_is_read(tmp_path):
    entries = files.with_manifest(CONTENT).items()
    path = zip_of(tmp_path / "again.zip", [("onnx/", b""), *entries])
    assert files.read_files(path) == CONTENT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "recipe.json").write_bytes(b'{"name": "y"}'), "recipe.json was changed"),
        (lambda f: (f / "recipe.json").unlink(), "lacks recipe.json"),
        (lambda f: (f / "more.txt").write_text("x"), "its manifest does not, more.txt"),
        (lambda f: (f / ".hidden").write_text("x"), "its manifest does not, .hidden"),
        (lambda f: (f / "recipe.json").write_bytes(b"{"), "recipe.json is cut short: 1 bytes of"),
        (lambda f: (f / "empty").write_bytes(b"x"), "empty has more than the 0 bytes"),
        (lambda f: (f / files.MANIFEST).unlink(), "has no manifest.json"),
        (lambda f: (f / files.MANIFEST).write_text("{"), "manifest.json is damaged"),
        (lambda f: (f / files.MANIFEST).write_text("[1]"), "manifest.json is damaged"),
        (lambda f: (f / files.MANIFEST).write_text("[" * 10**5), "manifest.json is damaged"),
        (lambda f: (f / files.MANIFEST).write_bytes(b" " * 2**21), "no manifest is"),
        (lambda f: (f / "link").symlink_to("/etc/passwd"), "link is a link"),
        (lambda f: os.mkfifo(f / "pipe"), "pipe is no file"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused_in_a_sentence(folder, change, message):
    change(folder)
    with pytest.raises(VesselrlError, match=message) as caught:
        files.read_files(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", 2, "version 2.*reads a 'vesselrl bundle' of version 1"),
        ("format_version", "1", "version '1'"),
        ("format", "something", "says it is a 'something'"),
        ("files", {}, "files: "),
        ("files", {"recipe.json": {"bytes": -1, "sha256": "0" * 64}}, "files.recipe.json.bytes"),
        ("files", {"recipe.json": {"bytes": 1, "sha256": "x"}}, "files.recipe.json.sha256"),
        ("more", 1, "more: "),
    ],
)
def test_a_manifest_of_another_form_is_refused(folder, key, value, message):
    write_manifest(folder, manifest_of(folder) | {key: value})
    with pytest.raises(VesselrlError, match=message):
        files.read_files(folder)


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/passwd", "a/../../b", "..\\b", "C:/b", "a//b", "./a", ".", "", "a/",
     "manifest.json", "a\0b"],
)  # fmt: skip
def test_a_manifest_that_names_a_path_out_of_the_bundle_is_refused(folder, name, monkeypatch):
    manifest = manifest_of(folder)
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    write_manifest(folder, manifest)
    names = [*CONTENT, name, files.MANIFEST]  # as an archive may have them
    monkeypatch.setattr(files._Folder, "names", lambda _: names)
    with pytest.raises(VesselrlError, match="no file within the bundle"):
        files.read_files(folder)


@given(name=st.text(max_size=12).map(lambda text: text + "/../../" + text))
def test_no_name_with_a_way_up_is_accepted(name):
    with pytest.raises(VesselrlError):
        files._check_name("here", name)


def test_an_entry_of_an_archive_that_leads_out_is_refused_and_writes_nothing(tmp_path):
    entries = files.with_manifest(CONTENT).items()
    path = zip_of(tmp_path / "evil.zip", [*entries, ("../slipped", b"x")])
    with pytest.raises(VesselrlError, match="its manifest does not, ../slipped"):
        files.read_files(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["evil.zip"]


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    content = files.with_manifest({"recipe.json": b"{}"})
    bomb = zip_of(
        tmp_path / "bomb.zip",
        [(files.MANIFEST, content[files.MANIFEST]), ("recipe.json", b"0" * 10**8)],
    )
    read = []
    original = zipfile.ZipExtFile.read

    def counted(self, n=-1):
        data = original(self, n)
        read.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    with pytest.raises(VesselrlError, match="more than the 2 bytes"):
        files.read_files(bomb)
    assert sum(read) < 10**4


def test_a_manifest_that_tells_of_too_much_is_refused(folder):
    manifest = manifest_of(folder)
    manifest["files"]["recipe.json"]["bytes"] = files.LARGEST + 1
    write_manifest(folder, manifest)
    with pytest.raises(VesselrlError, match="at most 2,147,483,648"):
        files.read_files(folder)


def test_a_name_that_an_archive_has_twice_is_refused(tmp_path):
    entries = [*files.with_manifest(CONTENT).items(), ("recipe.json", b"{}")]
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zip_of(tmp_path / "twice.zip", entries)
    with pytest.raises(VesselrlError, match="'recipe.json' more than once"):
        files.read_files(path)


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_an_archive_that_is_cut_short_is_refused(archive, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(VesselrlError, match="damaged or no zip file"):
        files.read_files(archive)


def test_no_changed_byte_of_an_archive_goes_unnoticed(archive):
    content = archive.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 0x10
        archive.write_bytes(changed)
        with contextlib.suppress(VesselrlError):
            assert files.read_files(archive) == CONTENT  # times and the like mean nothing


def test_an_archive_with_a_file_without_a_name_is_refused(archive):
    content = archive.read_bytes()
    place = content.rindex(b"empty")  # in the list of its files, where a name's length comes before
    start = content.rindex(b"PK\x01\x02", 0, place)
    changed = bytearray(content[:place] + content[place + len(b"empty") :])
    changed[start + 28 : start + 30] = bytes(2)
    sizes = content.rindex(b"PK\x05\x06") - len(b"empty")
    length = int.from_bytes(content[sizes + 17 : sizes + 21], "little") - len(b"empty")
    changed[sizes + 12 : sizes + 16] = length.to_bytes(4, "little")
    archive.write_bytes(changed)
    with pytest.raises(VesselrlError):
        files.read_files(archive)


def test_where_nothing_is_that_is_said(tmp_path):
    with pytest.raises(VesselrlError, match="There is no bundle at .*nothing"):
        files.read_files(tmp_path / "nothing")


def test_files_of_an_archive_are_plain(archive):
    with zipfile.ZipFile(archive) as opened:
        assert {stat.S_IFMT(e.external_attr >> 16) for e in opened.infolist()} == {stat.S_IFREG}
