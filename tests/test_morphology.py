import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage.morphology import disk

from vesselrl.morphology import closed, dilated, eroded, opened

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14))
RADII = st.integers(1, 8)  # discs beyond the image included


@given(MASKS, RADII, st.booleans())
def test_dilation_and_erosion_are_those_of_scipy_with_a_disc(mask, radius, beyond):
    border = {"structure": disk(radius), "border_value": int(beyond)}
    assert np.array_equal(dilated(mask, radius, beyond), ndimage.binary_dilation(mask, **border))
    assert np.array_equal(eroded(mask, radius, beyond), ndimage.binary_erosion(mask, **border))


@given(MASKS, RADII)
def test_opening_and_closing_are_those_of_scipy_with_a_disc(mask, radius):
    assert np.array_equal(opened(mask, radius), ndimage.binary_opening(mask, disk(radius)))
    assert np.array_equal(closed(mask, radius), ndimage.binary_closing(mask, disk(radius)))


@pytest.mark.parametrize("change", [dilated, eroded, opened, closed])
def test_the_mask_given_stays_as_it_is(change):
    mask = np.eye(9, dtype=bool)
    change(mask, 2)
    assert np.array_equal(mask, np.eye(9, dtype=bool))
