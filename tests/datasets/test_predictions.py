"""What predictions are written to, and the folder of images they are of."""

import json

import pytest
from kedro.io import DatasetError

from vesselrl.datasets import predictions
from vesselrl.datasets.predictions import (
    CocoDataset,
    JsonListDataset,
    LabelMeFolderDataset,
    NewHashesDataset,
    NewImagesDataset,
)
from vesselrl.errors import VesselrlError


def makers(**values):
    return {name: (lambda v=value: v) for name, value in values.items()}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_is_written_item_by_item(tmp_path, count):
    items = {f"i{number}": {"image": f"ü{number}.png"} for number in range(count)}
    dataset = JsonListDataset(filepath=str(tmp_path / "a.json"))
    dataset.save(makers(**items))
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == list(items.values())
    assert dataset.exists()


def test_a_list_that_breaks_off_leaves_the_earlier_one(tmp_path):
    dataset = JsonListDataset(filepath=str(tmp_path / "a.json"))
    dataset.save(makers(a=1))

    def broken():
        raise RuntimeError("no space")

    with pytest.raises(DatasetError, match="no space"):
        dataset.save({**makers(a=1), "b": broken})
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_coco_is_one_object_or_no_file(tmp_path):
    file = tmp_path / "coco.json"
    dataset = CocoDataset(filepath=str(file))
    head = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "vessel"}]}
    dataset.save({**head, "annotations": makers(a={"id": 1}, b={"id": 2})})
    assert json.loads(file.read_text()) == {**head, "annotations": [{"id": 1}, {"id": 2}]}
    dataset.save({})
    assert not file.exists()


def labelme(name, shapes=()):
    return ({"imagePath": f"{name}.jpg", "shapes": list(shapes)}, b"picture of " + name.encode())


def test_labelme_files_lie_beside_their_images(tmp_path):
    LabelMeFolderDataset(path=str(tmp_path)).save(makers(a=labelme("a"), b=labelme("b")))
    assert json.loads((tmp_path / "a.json").read_text()) == labelme("a")[0]
    assert (tmp_path / "b.jpg").read_bytes() == b"picture of b"


def test_labelme_files_that_did_not_change_are_not_written_again(tmp_path):
    dataset = LabelMeFolderDataset(path=str(tmp_path))

    def inodes():
        return {file.name: file.stat().st_ino for file in tmp_path.glob("[abc].*")}

    dataset.save(makers(a=labelme("a"), b=labelme("b"), c=labelme("c")))
    # What a removed file leaves free, a new one would get.
    kept = [file.open() for file in tmp_path.iterdir()]
    before = inodes()
    (tmp_path / "c.json").unlink()
    dataset.save(makers(a=labelme("a"), b=labelme("b", ["new"]), c=labelme("c")))
    after = inodes()
    for file in kept:
        file.close()
    assert after.keys() == before.keys()
    changed = {name for name, inode in after.items() if inode != before[name]}
    assert changed == {"b.json", "c.json"}


def test_what_somebody_corrected_is_never_replaced_or_removed(tmp_path):
    dataset = LabelMeFolderDataset(path=str(tmp_path))
    dataset.save(makers(a=labelme("a"), b=labelme("b"), c=labelme("c")))
    (tmp_path / "a.json").write_text("corrected")
    dataset.save(makers(a=labelme("a", ["new"]), b=labelme("b", ["new"])))
    assert (tmp_path / "a.json").read_text() == "corrected"
    assert json.loads((tmp_path / "b.json").read_text())["shapes"] == ["new"]
    assert not (tmp_path / "c.json").exists()
    assert not (tmp_path / "c.jpg").exists()
    dataset.save({})  # LabelMe is no longer among the formats
    assert (tmp_path / "a.json").read_text() == "corrected"
    assert (tmp_path / "a.jpg").exists()
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("foreign", ["a.json", "a.jpg"])
@pytest.mark.parametrize("was_written", [True, False])
def test_a_file_that_was_not_written_here_in_its_present_form_stays(tmp_path, foreign, was_written):
    dataset = LabelMeFolderDataset(path=str(tmp_path))
    if was_written:
        dataset.save(makers(a=labelme("a"), b=labelme("b")))
    (tmp_path / foreign).write_text("of somebody")
    before = {file.name: file.read_bytes() for file in tmp_path.glob("a.*")}
    for made in (makers(a=labelme("a", ["new"]), b=labelme("b")), {}):
        dataset.save(made)
        assert {file.name: file.read_bytes() for file in tmp_path.glob("a.*")} == before
        assert (tmp_path / "b.json").exists() == bool(made)


def test_labelme_files_whose_journal_is_lost_are_known_by_their_content(tmp_path):
    dataset = LabelMeFolderDataset(path=str(tmp_path))
    dataset.save(makers(a=labelme("a")))
    (tmp_path / ".written.tsv").unlink()
    dataset.save(makers(a=labelme("a")))
    dataset.save(makers(a=labelme("a", ["new"])))
    assert json.loads((tmp_path / "a.json").read_text())["shapes"] == ["new"]


@pytest.mark.parametrize("at", [1, 2])
def test_labelme_files_that_were_being_written_are_not_taken_for_corrected_ones(
    at, tmp_path, monkeypatch
):
    dataset = LabelMeFolderDataset(path=str(tmp_path))
    dataset.save(makers(a=labelme("a")))
    write, left = predictions.write_atomically, iter(range(at - 1, -1, -1))

    def dies(path, writer):
        """As a process that is killed when it has written that file."""
        write(path, writer)
        if not next(left):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(predictions, "write_atomically", dies)
        with pytest.raises(KeyboardInterrupt):
            dataset.save(makers(a=(labelme("a", ["new"])[0], b"another picture")))
    dataset.save(makers(a=labelme("a", ["newest"])))
    assert json.loads((tmp_path / "a.json").read_text())["shapes"] == ["newest"]


def test_a_folder_that_is_not_given_or_missing_is_asked_for(tmp_path):
    with pytest.raises(VesselrlError, match="--params input_dir="):
        NewImagesDataset(path=None).require()
    with pytest.raises(VesselrlError, match=f"{tmp_path}/gone does not exist.*input_dir="):
        NewImagesDataset(path=str(tmp_path / "gone")).require()
    assert NewHashesDataset(path=None, file=str(tmp_path / "h.tsv")).load() == {}


def test_hashes_are_known_by_the_names_in_the_folder(tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a.png").write_bytes(b"a")
    (tmp_path / "in/b.png").write_bytes(b"b")
    hashes = NewHashesDataset(path=str(tmp_path / "in"), file=str(tmp_path / "h.tsv")).load()
    assert (
        set(hashes)
        == {"b.png", "sub/a.png"}
        == set(NewImagesDataset(path=str(tmp_path / "in")).load())
    )
