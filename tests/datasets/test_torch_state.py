import json
import pickle

import pytest
import torch
from kedro.io import DatasetError
from safetensors import safe_open

from vesselrl.datasets.torch_state import TorchStateDataset
from vesselrl.networks.architecture import Architecture


class Bomb:
    """Unpickled naively, it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.fixture
def file(tmp_path):
    return TorchStateDataset(filepath=str(tmp_path / "deep" / "state.pth"))


def path(file):
    return file._filepath


def test_tensors_and_plain_values_come_back(file):
    state = {"members": [{"w": torch.eye(3)}], "features": [1, 2], "kappa": 0.5, "name": "x"}
    assert not file.exists()
    file.save(state)
    assert file.exists()
    loaded = file.load()
    torch.testing.assert_close(loaded["members"][0].pop("w"), torch.eye(3))
    assert loaded == {"members": [{}], "features": [1, 2], "kappa": 0.5, "name": "x"}


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(file, tmp_path):
    target = tmp_path / "ran"
    path(file).parent.mkdir()
    torch.save({"members": Bomb(target)}, path(file))
    with pytest.raises(DatasetError, match="cannot be loaded.*could run code"):
        file.load()
    path(file).write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(DatasetError):
        file.load()
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_an_error_that_names_it(file, content):
    path(file).parent.mkdir()
    path(file).write_bytes(content)
    with pytest.raises(DatasetError, match="state.pth.*damaged"):
        file.load()


def test_a_half_written_file_is_an_error(file):
    file.save({"w": torch.zeros(1000)})
    path(file).write_bytes(path(file).read_bytes()[:500])
    with pytest.raises(DatasetError, match="damaged"):
        file.load()


def test_something_else_than_a_dict_is_an_error(file):
    path(file).parent.mkdir()
    torch.save(torch.zeros(3), path(file))
    with pytest.raises(DatasetError, match="Tensor"):
        file.load()


NETWORK = {
    "features": [4] * 6, "downscale": 2, "norm": "batch", "max_side": 96, "groups": [],
}  # fmt: skip


def network(**changes):
    weights = Architecture(1, (4,) * 6, 2, "batch").build(0).state_dict()
    return {**NETWORK, "weights": weights, **changes}


def of_networks(tmp_path):
    name = "vesselrl.segmenters.unet.network.SegmentationNetwork"
    return TorchStateDataset(filepath=str(tmp_path / "networks.pth"), holds=name)


@pytest.mark.parametrize("state", [network(), {"one": network(), "two": network(groups=["g"])}])
def test_a_state_or_several_of_what_a_file_is_for_are_loaded(state, tmp_path):
    file = of_networks(tmp_path)
    file.save(state)
    assert file.load().keys() == state.keys()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"members": [], "features": [4] * 6},
        network(weights={}),
        network(weights=3),
        network(features=4),
        network(features=[8] * 6),
        {"one": network(), "two": {"kappa": 1.0}},
    ],
)
def test_a_state_of_something_else_is_refused_by_the_name_of_its_file(state, tmp_path):
    file = of_networks(tmp_path)
    file.save(state)
    with pytest.raises(DatasetError, match="networks.pth holds something else than a Segment"):
        file.load()


def test_what_cannot_be_saved_leaves_the_old_file_alone(file):
    file.save({"w": 1})
    with pytest.raises(DatasetError):
        file.save({"w": 1j})
    assert file.load() == {"w": 1}
    names = sorted(p.name for p in path(file).parent.iterdir())
    assert names == ["state.pth", "state.safetensors"]


def test_the_same_is_there_without_pickle(file):
    weights = {"a.w": torch.eye(3), "b": torch.arange(3)}
    file.save({"members": [weights, {"a.w": torch.zeros(3, 3)}], "kappa": 0.5})
    with safe_open(path(file).with_suffix(".safetensors"), "pt") as flat:
        assert set(flat.keys()) == {"members.0.a.w", "members.0.b", "members.1.a.w"}
        torch.testing.assert_close(flat.get_tensor("members.0.a.w"), torch.eye(3))
        plain = json.loads(flat.metadata()["state"])
    assert plain["kappa"] == 0.5
    assert plain["members"][0] == {"a.w": None, "b": None}
