"""Masks of methods, in a folder where other things are kept too."""

from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from vesselrl.datasets.shared_folder import SharedFolderDataset

MASK = np.eye(3, dtype=bool)


def masks_in(folder: Path) -> SharedFolderDataset:
    return SharedFolderDataset(
        path=str(folder),
        journal=str(folder / ".masks.tsv"),
        filename_suffix=".png",
        dataset={"type": "vesselrl.datasets.images.MaskDataset"},
    )


def save(folder: Path, *names: str) -> None:
    masks_in(folder).save({name: lambda: MASK for name in names})


def pictures(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """The file of another pipeline, made before anything is saved."""
    file = tmp_path / "predict/masks/new.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"of others")
    return file


def test_masks_come_back_by_method_and_image_and_those_of_others_do_not(
    tmp_path: Path, others: Path
) -> None:
    save(tmp_path, "b/masks/1", "a/masks/2", "a/seeds/7/masks/1")
    loaded = masks_in(tmp_path).load()
    assert list(loaded) == ["a/masks/2", "a/seeds/7/masks/1", "b/masks/1"]
    assert np.array_equal(loaded["b/masks/1"](), MASK)
    assert others.read_bytes() == b"of others"


def test_masks_of_methods_and_images_that_are_gone_are_removed_and_nothing_else(
    tmp_path: Path, others: Path
) -> None:
    save(tmp_path, "a/masks/1", "a/masks/2", "b/masks/1", "b/seeds/7/masks/1")
    (tmp_path / "a/notes.txt").write_text("mine")
    save(tmp_path, "c/masks/1", "a/masks/1")
    assert pictures(tmp_path) == {"a/masks/1.png", "c/masks/1.png", "predict/masks/new.png"}
    assert (tmp_path / "a/notes.txt").exists()
    assert not (tmp_path / "b").exists()
    assert others.exists()


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b"half")])
def test_a_mask_that_has_gone_or_changed_makes_all_count_as_not_there(tmp_path: Path, harm) -> None:
    assert not masks_in(tmp_path).exists()
    save(tmp_path, "a/masks/1", "a/masks/2")
    assert masks_in(tmp_path).exists()
    harm(tmp_path / "a/masks/2.png")
    assert not masks_in(tmp_path).exists()
    save(tmp_path, "a/masks/1", "a/masks/2")
    assert masks_in(tmp_path).exists()


def test_what_others_add_or_remove_changes_nothing(tmp_path: Path, others: Path) -> None:
    save(tmp_path, "a/masks/1")
    others.with_name("newer.png").write_bytes(b"")
    others.unlink()
    assert masks_in(tmp_path).exists()
    assert list(masks_in(tmp_path).load()) == ["a/masks/1"]


def test_what_an_interrupted_run_wrote_is_removed_by_the_next(tmp_path: Path) -> None:
    def broken() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        masks_in(tmp_path).save({"a/masks/1": lambda: MASK, "b/masks/1": broken})
    assert pictures(tmp_path) == {"a/masks/1.png"}
    assert not masks_in(tmp_path).exists()
    save(tmp_path, "c/masks/1")
    assert pictures(tmp_path) == {"c/masks/1.png"}


def test_no_mask_is_written_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    save(folder, "a/masks/1")
    with pytest.raises(DatasetError, match="outside the dataset directory"):
        save(folder, "b/masks/1", "../a/masks/1")
    assert pictures(tmp_path) == {"deep/a/masks/1.png"}
    assert masks_in(folder).exists()
