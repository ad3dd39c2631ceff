"""Folders elsewhere: in the memory of this process, and on an object server if there is one."""

import errno
import os
import pickle
import sys
import uuid

import fsspec
import pytest

from vesselrl import storage
from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import read
from vesselrl.errors import VesselrlError
from vesselrl.storage import MANIFEST, RemoteFolder, is_remote, mirror


@pytest.fixture(scope="session")
def object_server():
    """A server that speaks S3, on this machine, and an account there."""
    pytest.importorskip("s3fs", reason="S3 is an extra: pip install 'vesselrl[s3]'")
    server = pytest.importorskip(
        "moto.server", reason="an object server to test with: pip install 'moto[s3,server]'"
    )
    thread = server.ThreadedMotoServer(port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        yield
    thread.stop()


@pytest.fixture(params=["memory", "s3"])
def url(request):
    """The address of an empty folder on a store."""
    if request.param == "s3":
        request.getfixturevalue("object_server")
        bucket = f"bucket-{uuid.uuid4()}"
        fsspec.filesystem("s3", use_listings_cache=False).mkdir(bucket)
        return f"s3://{bucket}/some/folder"
    return f"memory://{uuid.uuid4()}/folder"


def put(url, **files):
    """Write files; `a__b_png` is a/b.png."""
    for name, content in files.items():
        path = name.replace("__", "/").replace("_", ".")
        with fsspec.open(f"{url}/{path}", "wb") as stream:
            stream.write(content)


def held(url):
    """Everything in a folder: name → content."""
    filesystem, root = fsspec.url_to_fs(url, use_listings_cache=False)
    start = len(root.strip("/")) + 1
    return {
        path.strip("/")[start:]: filesystem.cat_file(path) for path in sorted(filesystem.find(root))
    }


def local(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_images_are_listed_and_read_one_by_one(url):
    put(url, b_png=b"two", sub__a_png=b"one", annotations_json=b"[]", sub___hidden=b"x")
    folder = RemoteFolder(url)
    assert list(folder) == ["b.png", "sub/a.png"]
    assert len(folder) == 2
    assert {name: load() for name, load in folder.items()} == {"b.png": b"two", "sub/a.png": b"one"}
    assert pickle.loads(pickle.dumps(folder["b.png"]))() == b"two"
    assert pickle.loads(pickle.dumps(folder))["b.png"]() == b"two"


def test_a_file_that_is_missing_or_goes_is_refused_as_one_on_this_machine(url):
    put(url, a_png=b"one")
    folder = RemoteFolder(url)
    assert "b.png" not in folder
    for name in ("b.png", "../folder/a.png", "/a.png"):
        with pytest.raises(Refusal, match="no such file"):
            read(folder, name)
    filesystem, root = fsspec.url_to_fs(url)
    filesystem.rm_file(f"{root}/a.png")
    with pytest.raises(Refusal, match="cannot be read: FileNotFoundError") as told:
        read(folder, "a.png")
    assert "a.png" not in told.value.reason  # it may be a patient's


def test_the_marks_of_folders_are_no_files(monkeypatch):
    class Store:
        """Lists what was made on a web page, as s3fs does."""

        def isdir(self, path):
            return True

        def find(self, path, detail):
            assert detail
            return {name: {"size": 0} for name in ("b/new/", "b/new/a.png", "b/new/sub/")}

    monkeypatch.setattr(storage, "_open", lambda url: (Store(), "b/new"))
    assert list(RemoteFolder("s3://b/new")) == ["a.png"]


def test_the_stamp_of_a_file_changes_when_it_is_written_to(url):
    put(url, a_png=b"one", b_png=b"two")
    before = RemoteFolder(url).stamps()
    assert RemoteFolder(url).stamps() == before
    put(url, b_png=b"owt")
    after = RemoteFolder(url).stamps()
    assert after["a.png"] == before["a.png"]
    assert after["b.png"] != before["b.png"]


def test_a_folder_that_is_not_there_is_told_in_a_sentence(url):
    with pytest.raises(VesselrlError, match=f"{url}.* cannot be read .*no such folder"):
        list(RemoteFolder(f"{url}/nowhere"))


def test_a_mirror_holds_what_the_folder_holds_and_sends_only_what_changed(url, tmp_path):
    put(url, theirs_txt=b"not ours")
    folder = local(tmp_path, masks__a_png=b"a", masks__b_png=b"b", quality_csv=b"q", masks___c=b"-")
    assert mirror(folder, url) == (3, 0)
    assert mirror(folder, url) == (0, 0)
    local(folder, quality_csv=b"r", masks__d_png=b"d")
    (folder / "masks/a.png").unlink()
    assert mirror(folder, url) == (2, 1)
    there = held(url)
    del there[MANIFEST]
    assert there == {
        "masks/b.png": b"b", "masks/d.png": b"d", "quality.csv": b"r", "theirs.txt": b"not ours",
    }  # fmt: skip


def test_what_was_lost_or_damaged_over_there_is_sent_again(url, tmp_path):
    folder = local(tmp_path, a_png=b"a", b_png=b"b", c_png=b"c")
    mirror(folder, url)
    filesystem, root = fsspec.url_to_fs(url)
    filesystem.rm_file(f"{root}/a.png")
    put(url, b_png=b"half")
    assert mirror(folder, url) == (2, 0)
    put(url, **{MANIFEST.replace(".", "_"): b"damaged"})
    assert mirror(folder, url) == (3, 0)
    assert {name: data for name, data in held(url).items() if name != MANIFEST} == {
        "a.png": b"a", "b.png": b"b", "c.png": b"c",
    }  # fmt: skip


def test_a_mirroring_that_broke_off_never_leaves_what_it_does_not_know_of(tmp_path, monkeypatch):
    url = f"memory://{uuid.uuid4()}"
    folder = local(tmp_path, a_png=b"old", b_png=b"b", z_png=b"z")
    mirror(folder, url)
    filesystem = fsspec.filesystem("memory")
    whole = type(filesystem).put_file

    def breaks_at_z(self, source, target, **options):
        if target.endswith("z.png"):
            raise ConnectionError("gone")
        return whole(self, source, target, **options)

    local(folder, a_png=b"new", z_png=b"y")
    monkeypatch.setattr(type(filesystem), "put_file", breaks_at_z)
    with pytest.raises(VesselrlError, match="cannot be written .ConnectionError: gone"):
        mirror(folder, url)
    monkeypatch.undo()
    local(folder, a_png=b"old", z_png=b"z")  # what it was when the manifest last was whole
    mirror(folder, url)
    assert held(url)["a.png"] == b"old"
    assert held(url)["z.png"] == b"z"


def test_a_misspelt_bucket_is_told_and_not_made(object_server, tmp_path):
    folder = local(tmp_path, masks__a_png=b"a")
    for send in (storage.require_store, lambda url: mirror(folder, url)):
        with pytest.raises(VesselrlError, match="s3://buckett/there cannot be written"):
            send("s3://buckett/there")
    assert "buckett" not in fsspec.filesystem("s3", use_listings_cache=False).ls("")


def test_asking_whether_a_place_takes_results_changes_nothing_there(url, tmp_path):
    storage.require_store(url)
    assert held(url) == {}
    storage.require_store(str(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


def test_a_store_that_refuses_is_told_when_it_is_asked(monkeypatch):
    class Store:
        def find(self, path, detail):
            raise PermissionError(errno.EACCES, "Forbidden")

    monkeypatch.setattr(storage, "_open", lambda url: (Store(), "b/new"))
    with pytest.raises(VesselrlError, match="s3://b/new cannot be written .*Forbidden"):
        storage.require_store("s3://b/new")


def test_a_folder_of_this_machine_may_be_the_place_too(tmp_path):
    folder = local(tmp_path / "here", masks__a_png=b"a", b_csv=b"b")
    assert mirror(folder, str(tmp_path / "there/new")) == (2, 0)
    assert (tmp_path / "there/new/masks/a.png").read_bytes() == b"a"


def test_a_store_that_nothing_knows_is_told_in_a_sentence(tmp_path):
    with pytest.raises(VesselrlError, match="fsspec knows no 'attic://'"):
        mirror(tmp_path, "attic://box")


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(VesselrlError, match=r"pip install 'vesselrl\[s3\]'"):
        RemoteFolder("s3a://bucket")  # which fsspec has not yet imported


@pytest.mark.skipif(os.name == "nt", reason="drives have letters there")
def test_a_path_on_this_machine_is_not_remote(tmp_path):
    assert not is_remote(str(tmp_path))
    assert is_remote("s3://bucket/folder")
