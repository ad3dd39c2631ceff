import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vesselrl.segmenters.levels import from_levels, levels_of_tensor, to_levels

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
THRESHOLDS = np.arange(1, 256, dtype=np.float32) / 256


@given(st.floats(0, 1, width=32))
def test_every_threshold_k_256_decides_as_before_storing(p):
    stored = from_levels(to_levels(np.float32([p])))
    np.testing.assert_array_equal(np.float32(p) > THRESHOLDS, stored > THRESHOLDS)
    assert abs(float(stored[0]) - p) <= 1 / 512


def test_thresholds_themselves_stay_below_themselves():
    np.testing.assert_array_equal(from_levels(to_levels(THRESHOLDS)) > THRESHOLDS, False)


def test_levels_survive_decoding_and_encoding():
    levels = np.arange(256, dtype=np.uint8)
    decoded = from_levels(levels)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(to_levels(decoded), levels)


@pytest.mark.parametrize("shape", [(), (0, 3, 4), (3, 5, 7), (3, 200, 300)])
def test_many_maps_are_stored_as_each_number_alone(shape):
    drawn = np.random.default_rng(0).random(shape, np.float32)
    for maps in (drawn, np.moveaxis(drawn, 0, -1) if drawn.ndim else drawn):
        expected = np.maximum(np.ceil(256 * maps.astype(float)) - 1, 0)
        levels = to_levels(maps)
        np.testing.assert_array_equal(levels, expected)
        assert (levels.shape, levels.dtype) == (maps.shape, np.uint8)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_numbers_of_any_type_are_stored_by_their_value(kind):
    np.testing.assert_array_equal(to_levels(np.array([0, 1, 1], kind)), [0, 255, 255])


@pytest.mark.parametrize("device", DEVICES)
def test_of_no_prompts_no_maps_are_stored(device):
    assert levels_of_tensor(torch.empty(0, 3, 4, device=device)).shape == (0, 3, 4)


@pytest.mark.parametrize("device", DEVICES)
@given(arrays(np.float32, 12, elements=st.floats(0, 1, width=32)))
def test_a_tensor_is_stored_as_an_array(device, maps):
    levels = levels_of_tensor(torch.from_numpy(maps).to(device))
    np.testing.assert_array_equal(levels, to_levels(maps))
    assert levels.dtype == np.uint8


@pytest.mark.parametrize("place", [1, 100_000])
@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan])
def test_what_is_no_probability_is_refused(value, place):
    maps = np.full(100_001, 0.5, np.float32)
    maps[place] = value
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        to_levels(maps)
    for device in DEVICES:
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            levels_of_tensor(torch.from_numpy(maps).to(device))
