import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from vesselrl.annotations.rle import compressed, decode_rle, encode_rle, read_rle

# From the tests of pycocotools: the same runs in both forms.
COUNTS = [6, 1, 40, 4, 5, 4, 5, 4, 21]
TEXT = "61X13mN000`0"


def counts_of(mask):
    """Run lengths pixel by pixel, down the columns."""
    counts, current = [0], False
    for pixel in mask.T.ravel():
        if pixel != current:
            counts.append(0)
            current = pixel
        counts[-1] += 1
    return counts


def test_published_runs_are_written_and_read():
    assert compressed(COUNTS) == TEXT
    long = read_rle({"size": [10, 9], "counts": COUNTS})
    short = read_rle({"size": [10, 9], "counts": TEXT})
    assert long == short
    assert counts_of(decode_rle(short)) == COUNTS


def test_runs_go_down_the_columns_background_first():
    mask = decode_rle(read_rle({"size": [2, 3], "counts": [1, 2, 3]}))
    assert mask.dtype == bool
    assert mask.tolist() == [[False, True, False], [True, False, False]]


@settings(max_examples=200, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_mask_is_read_in_either_form(mask):
    counts, size = counts_of(mask), list(mask.shape)
    for form in (counts, compressed(counts)):
        assert np.array_equal(decode_rle(read_rle({"size": size, "counts": form})), mask)


@settings(max_examples=200, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_mask_is_written_as_its_runs(mask):
    written = encode_rle(mask)
    assert written == {"size": list(mask.shape), "counts": compressed(counts_of(mask))}
    assert np.array_equal(decode_rle(read_rle(written)), mask)


def test_long_runs_are_read():
    counts = [40_000_000, 3, 9_999_997]
    rle = read_rle({"size": [5000, 10_000], "counts": counts})
    assert read_rle(rle) == rle
    assert decode_rle(rle).sum() == 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([], "without 'counts'"),
        ({"counts": [4]}, "without a 'size'"),
        ({"size": [2, 2.0], "counts": [4]}, "without a 'size'"),
        ({"size": [0, 2], "counts": []}, "without a 'size'"),
        ({"size": [2, 2], "counts": [1, 2]}, "sum to 3; 2 rows × 2 columns have 4 pixels"),
        ({"size": [2, 2], "counts": [5, -1]}, "negative or huge"),
        ({"size": [2, 2], "counts": [10**30]}, "negative or huge"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "neither a text nor a list of whole numbers"),
        ({"size": [2, 2], "counts": None}, "neither a text nor a list of whole numbers"),
        ({"size": [2, 2], "counts": ""}, "sum to 0"),
        ({"size": [2, 2], "counts": "1Q"}, "cut or hold a character"),
        ({"size": [2, 2], "counts": "1\ud800"}, "cut or hold a character"),
        ({"size": [2, 2], "counts": "oooooooooo0"}, "a run length is huge"),
        ({"size": [2, 2], "counts": "N"}, "negative or huge"),
    ],
)
def test_what_is_no_mask_is_told(raw, reason):
    with pytest.raises(ValueError, match=reason):
        read_rle(raw)
