import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from vesselrl.rl.operations import apply_operation
from vesselrl.rl.parameters import Operation

FLAT = np.zeros((15, 15), np.float32)


def square(top: int, left: int, size: int) -> np.ndarray:
    mask = np.zeros((15, 15), bool)
    mask[top : top + size, left : left + size] = True
    return mask


def operate(mask, probability=FLAT, **settings):
    return apply_operation(Operation(**settings), mask, probability)


def test_small_regions_go_and_those_of_the_size_stay():
    mask = square(1, 1, 2) | square(8, 8, 3)
    assert np.array_equal(operate(mask, kind="remove_small", size=5), square(8, 8, 3))
    assert np.array_equal(operate(mask, kind="remove_small", size=4), mask)


def test_holes_up_to_the_size_are_filled():
    ring = square(3, 3, 5)
    ring[5, 5] = False
    assert np.array_equal(operate(ring, kind="fill_holes", size=1), square(3, 3, 5))
    ring[5, 4] = False
    assert np.array_equal(operate(ring, kind="fill_holes", size=1), ring)


def test_closing_joins_a_gap_and_changes_nothing_at_the_border():
    line = np.zeros((15, 15), bool)
    line[6:9, :] = True
    broken = line.copy()
    broken[6:9, 7] = False
    closed = operate(broken, kind="closing", radius=1)
    assert closed[7].all()
    assert (closed <= line).all()
    assert np.array_equal(operate(line, kind="closing", radius=2), line)


def test_opening_removes_what_is_thinner_than_the_disc():
    thick, thin = square(2, 2, 5), np.zeros((15, 15), bool)
    thin[12, 2:13] = True
    opened = operate(thick | thin, kind="opening", radius=1)
    assert not opened[12].any()
    assert opened[3:6, 3:6].all()


def test_hysteresis_grows_into_weak_pixels_that_touch_and_no_others():
    probability = np.full((15, 15), 0.1, np.float32)
    probability[4, 2:10] = 0.4
    probability[12, 2:10] = 0.4
    seed = np.zeros((15, 15), bool)
    seed[4, 2:4] = True
    grown = operate(seed, probability, kind="hysteresis", low=0.3)
    assert grown[4, 2:10].all()
    assert not grown[12].any()
    assert grown.sum() == 8


@given(arrays(np.bool_, (9, 11)))
def test_dilation_adds_erosion_removes(mask):
    probability = np.zeros(mask.shape, np.float32)
    dilated = operate(mask, probability, kind="dilate")
    eroded = operate(mask, probability, kind="erode")
    assert (dilated >= mask).all()
    assert (eroded <= mask).all()
    # each is the other on the background
    assert np.array_equal(~operate(~mask, probability, kind="dilate"), eroded)


@pytest.mark.parametrize(
    "kind", ["opening", "closing", "remove_small", "fill_holes", "hysteresis", "dilate", "erode"]
)
@pytest.mark.parametrize("full", [False, True])
def test_empty_and_full_masks_are_no_trouble(kind, full):
    mask = np.full((15, 15), full)
    changed = operate(mask, kind=kind)
    assert changed.dtype == bool
    assert changed.shape == mask.shape
    assert np.array_equal(changed, mask)


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValidationError, match="kind"):
        Operation(kind="sharpen")
