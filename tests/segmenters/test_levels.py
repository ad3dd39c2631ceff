import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.segmenters.levels import from_levels, to_levels

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


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        to_levels(np.float32([0.5, value]))
