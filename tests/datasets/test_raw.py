import json

import pytest
from kedro.io import DatasetError

from vesselrl.datasets.raw import AnnotationsDataset, ImageFolderDataset, OptionalJsonDataset

ENTRY = {"image": "a.png", "mask": []}


@pytest.fixture
def raw_dir(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations.json").write_text(json.dumps([ENTRY]))
    return tmp_path


def test_annotations_are_opened_by_their_format(raw_dir):
    open_source = AnnotationsDataset(path=str(raw_dir)).load()
    assert list(open_source("auto", 10)) == list(open_source(format="list")) == [ENTRY]


def test_a_json_file_may_be_absent(raw_dir):
    dataset = OptionalJsonDataset(filepath=str(raw_dir / "groups.json"))
    assert not dataset.exists()
    assert dataset.load() is None
    (raw_dir / "groups.json").write_text('\ufeff{"a.png": "p1"}', encoding="utf-8")
    assert dataset.exists()
    assert dataset.load() == {"a.png": "p1"}


def test_a_json_file_that_is_none_is_told_in_a_sentence(raw_dir):
    (raw_dir / "groups.json").write_text("{")
    with pytest.raises(DatasetError, match=r"groups.json is not JSON .* correct or replace it"):
        OptionalJsonDataset(filepath=str(raw_dir / "groups.json")).load()


@pytest.mark.parametrize("name", ["groups.csv", "groups.xlsx", "Groups.json", "groups"])
def test_a_table_in_place_of_a_json_file_is_not_passed_over(raw_dir, name):
    dataset = OptionalJsonDataset(filepath=str(raw_dir / "groups.json"))
    (raw_dir / name).write_text("a.png,p1\n")
    with pytest.raises(DatasetError, match=rf"{name} is not read: expected groups.json, an object"):
        dataset.load()
    (raw_dir / "groups.json").write_text('{"a.png": "p1"}')
    assert dataset.load() == {"a.png": "p1"}


@pytest.mark.parametrize("name", ["my_groups.csv", "groups.json.old", "splits.csv"])
def test_files_of_other_names_are_taken_for_nothing(raw_dir, name):
    (raw_dir / name).write_text("a.png,p1\n")
    (raw_dir / "groups").mkdir()
    assert OptionalJsonDataset(filepath=str(raw_dir / "groups.json")).load() is None


def test_a_missing_folder_of_images_is_told_in_a_sentence(tmp_path):
    with pytest.raises(DatasetError, match=r"The folder .*images does not exist; expected the im"):
        ImageFolderDataset(path=str(tmp_path / "images")).load()


@pytest.mark.parametrize(
    "dataset",
    [
        lambda folder: AnnotationsDataset(path=str(folder)),
        lambda folder: ImageFolderDataset(path=str(folder / "images")),
        lambda folder: OptionalJsonDataset(filepath=str(folder / "groups.json")),
    ],
)
def test_raw_data_are_never_written(raw_dir, dataset):
    with pytest.raises(DatasetError, match="is the user's raw data: it is only read"):
        dataset(raw_dir).save([])
    assert not (raw_dir / "groups.json").exists()
