import json

import pandas as pd
import pytest
from kedro.io import DatasetError

from vesselrl.datasets.seeds import SeedsDataset


@pytest.fixture
def facts(tmp_path):
    return SeedsDataset(
        path=str(tmp_path / "exp"), file="facts.json", dataset={"type": "json.JSONDataset"}
    )


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_first_listed_seed_owns_the_folder_whatever_its_number(facts, tmp_path):
    facts.save({7: {"dice": 0.1}, 3: {"dice": 0.9}, 5: {"dice": 0.5}})
    assert files(tmp_path / "exp") == [
        "facts.json", "seeds.json", "seeds/3/facts.json", "seeds/5/facts.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "exp/facts.json").read_text()) == {"dice": 0.1}


def test_seeds_come_back_in_their_order(facts):
    saved = {7: {"dice": 0.1}, 3: {"dice": 0.9}}
    facts.save(saved)
    assert facts.exists()
    assert list(facts.load().items()) == list(saved.items())


def test_an_experiment_that_was_not_run_has_no_seeds(facts, tmp_path):
    assert facts.load() == {}
    assert not facts.exists()
    assert list(tmp_path.iterdir()) == []


def test_it_exists_only_with_the_file_of_every_seed(facts, tmp_path):
    facts.save({7: {}, 3: {}})
    (tmp_path / "exp/seeds/3/facts.json").unlink()
    assert not facts.exists()


def test_seeds_of_an_earlier_run_are_not_loaded(facts):
    facts.save({1: {"run": 1}, 2: {"run": 1}})
    facts.save({2: {"run": 2}})
    assert facts.load() == {2: {"run": 2}}


def test_a_run_broken_off_while_saving_leaves_no_list_of_seeds(facts, tmp_path):
    with pytest.raises(DatasetError):
        facts.save({1: {}, 2: object()})
    assert not facts.exists()
    assert facts.load() == {}
    assert not (tmp_path / "exp/seeds.json").exists()


def test_the_dataset_of_one_seed_takes_its_own_arguments(tmp_path):
    tables = SeedsDataset(
        path=str(tmp_path),
        file="history.csv",
        dataset={"type": "pandas.CSVDataset", "save_args": {"index": False}},
    )
    table = pd.DataFrame({"steps": [128, 256], "reward": [0.5, 0.25]})
    tables.save({42: table})
    pd.testing.assert_frame_equal(tables.load()[42], table)
