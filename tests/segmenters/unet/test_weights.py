"""Networks as safetensors files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vesselrl.errors import VesselrlError
from vesselrl.networks.architecture import Architecture
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.weights import load_weights, read_header, save_weights

HEADER = {"features": [4] * 6, "downscale": 2, "norm": "batch", "max_side": 96}


def make(seed=0, features=(4,) * 6, downscale=2, norm="batch"):
    architecture = Architecture(1, features, downscale, norm)
    return SegmentationNetwork(architecture.build(seed).eval(), architecture, 96)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_network_that_was_kept_answers_as_before_but_for_fp16(tmp_path, image, norm):
    network, file = make(norm=norm), tmp_path / "weights.safetensors"
    save_weights(file, network, {"data": "drawn"})
    again = load_weights(file)
    assert next(again.module.parameters()).dtype == torch.float32
    assert (again.architecture, again.max_side) == (network.architecture, network.max_side)
    np.testing.assert_allclose(again.probability(image), network.probability(image), atol=5e-3)


def test_weights_take_two_bytes_each(tmp_path):
    file = tmp_path / "weights.safetensors"
    network = make(features=(32, 32, 64, 64, 64, 32))
    save_weights(file, network)
    count = sum(p.numel() for p in network.module.parameters())
    assert file.stat().st_size < 2 * count + 20_000


def test_what_a_file_tells_of_its_network_is_read_without_the_weights(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_weights(file, make(), {"dice": 0.7, "data": ["a", "b"]})
    header = read_header(file)
    told = {"groups": [], "facts": {"dice": 0.7, "data": ["a", "b"]}}
    assert header.model_dump() == HEADER | told


def test_a_network_whose_weights_grew_beyond_all_bounds_is_not_kept(tmp_path):
    network = make()
    with torch.no_grad():
        next(network.module.parameters())[0] = 1e6
    with pytest.raises(VesselrlError, match="do not fit into fp16"):
        save_weights(tmp_path / "weights.safetensors", network)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(VesselrlError, match=r"no weights at .*gone.safetensors"):
        load_weights(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 100, -10])
def test_a_damaged_file_is_an_error_that_says_so(tmp_path, kept):
    file = tmp_path / "weights.safetensors"
    save_weights(file, make())
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(VesselrlError, match=r"weights.safetensors is damaged"):
        load_weights(file)


def test_a_file_without_a_description_of_its_network_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file({"layer": torch.zeros(3)}, file)
    with pytest.raises(VesselrlError, match="no entry 'network' in its metadata"):
        load_weights(file)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"downscale": 3}, "downscale"),
        ({"norm": "group"}, "norm"),
        ({"features": [4]}, "features"),
        ({"size": 3}, "size"),
    ],
)
def test_a_wrong_description_is_refused_by_the_name_of_its_field(tmp_path, change, named):
    file = tmp_path / "weights.safetensors"
    save_file({"layer": torch.zeros(3)}, file, {"network": json.dumps(HEADER | change)})
    with pytest.raises(VesselrlError, match=f"metadata is wrong .{named}: "):
        load_weights(file)


@pytest.mark.parametrize("text", ["", "[]", "3", "{"])
def test_a_description_that_is_no_json_object_is_refused(tmp_path, text):
    file = tmp_path / "weights.safetensors"
    save_file({"layer": torch.zeros(3)}, file, {"network": text})
    with pytest.raises(VesselrlError, match="metadata is wrong"):
        load_weights(file)


def test_weights_of_another_size_than_described_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    weights = make(features=(8,) * 6).state()["weights"].items()
    dense = {name: tensor.contiguous() for name, tensor in weights}
    save_file(dense, file, {"network": json.dumps(HEADER)})
    with pytest.raises(VesselrlError, match="are of another"):
        load_weights(file)
