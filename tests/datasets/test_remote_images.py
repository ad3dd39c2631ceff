"""Images without labels that lie elsewhere."""

import uuid

import fsspec
import pytest

from vesselrl.datasets.predictions import NewHashesDataset, NewImagesDataset


@pytest.fixture
def url():
    address = f"memory://{uuid.uuid4()}"
    for name in ("b.png", "sub/a.png"):
        write(f"{address}/{name}", name.encode())
    return address


def write(address, content):
    with fsspec.open(address, "wb") as stream:
        stream.write(content)


def test_images_elsewhere_are_read_like_those_of_a_folder_here(url, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.png", "sub/a.png"):
        (tmp_path / name).write_bytes(name.encode())
    here, there = (NewImagesDataset(path=path) for path in (str(tmp_path), url))
    assert there.exists()
    assert [(n, load()) for n, load in there.load().items()] == [
        (n, load()) for n, load in here.load().items()
    ]


def test_what_was_written_to_elsewhere_counts_as_new(url, tmp_path):
    images = NewImagesDataset(path=url)
    hashes = NewHashesDataset(path=url, file=str(tmp_path / "hashes.tsv"))
    fingerprint, stamps = images.fingerprint, hashes.load()
    assert (images.fingerprint, hashes.load()) == (fingerprint, stamps)
    write(f"{url}/b.png", b"other")
    assert images.fingerprint != fingerprint
    assert hashes.load()["b.png"] != stamps["b.png"]
    assert hashes.load()["sub/a.png"] == stamps["sub/a.png"]
