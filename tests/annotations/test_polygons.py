import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from scipy import ndimage

from vesselrl.annotations.polygons import polygonise, rasterise

SAMPLE = Path(__file__).parents[2] / "data" / "01_raw" / "sample"


def mask_from(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


SHAPES = {
    "nothing": mask_from("....", "...."),
    "everything": mask_from("####", "####"),
    "one pixel": mask_from("...", ".#.", "..."),
    "one-pixel image": mask_from("#"),
    "two pixels": mask_from("##."),
    "one-pixel-wide diagonal": mask_from("#....", ".#...", "..#..", ".#...", "#...."),
    "hole": mask_from("#####", "#...#", "#.#.#", "#...#", "#####"),
    "hole of one pixel": mask_from("###", "#.#", "###"),
    "hole closed by diagonals": mask_from(".#.", "#.#", ".#."),
    "two holes on one row": mask_from("#####", "#.#.#", "#####"),
    "regions one pixel apart": mask_from("##.##", "##.##"),
    "chessboard": np.indices((7, 9)).sum(axis=0) % 2 == 0,
}


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES.keys())
def test_small_shapes_come_back_exactly(mask):
    assert np.array_equal(rasterise(polygonise(mask), *mask.shape), mask)


@settings(max_examples=500, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_any_mask_comes_back_exactly(mask):
    polygons = polygonise(mask)
    assert np.array_equal(rasterise(polygons, *mask.shape), mask)
    assert all(len(polygon) % 2 == 0 and len(polygon) >= 6 for polygon in polygons)
    assert all(type(coordinate) is int for polygon in polygons for coordinate in polygon)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4), st.floats(0.2, 0.8))
def test_smooth_blobs_with_holes_come_back_exactly(seed, sigma, share):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((80, 60)), sigma)
    mask = noise < np.quantile(noise, share)
    assert np.array_equal(rasterise(polygonise(mask), *mask.shape), mask)


def test_masks_of_the_sample_come_back_exactly():
    for entry in json.loads((SAMPLE / "annotations.json").read_text()):
        with Image.open(SAMPLE / "images" / entry["image"]) as image:
            width, height = image.size
        mask = rasterise(entry["mask"], height, width)
        assert mask.any()
        assert np.array_equal(rasterise(polygonise(mask), height, width), mask)


def test_no_polygon_has_a_hole():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((80, 80)), 2)
    mask = noise < np.median(noise)
    for polygon in polygonise(mask):
        filled = rasterise([polygon], 80, 80)
        assert np.array_equal(ndimage.binary_fill_holes(filled), filled)


def test_a_straight_outline_is_written_by_its_corners():
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:30, 10:50] = True
    assert polygonise(mask) == [[10, 5, 49, 5, 49, 29, 10, 29]]


def test_polygons_are_filled_as_pillow_fills_them():
    polygons = [[1, 1, 8, 1, 8, 6], [0.5, 9.0, 4.2, 9.0, 2.0, 7.3]]
    picture = Image.new("L", (10, 12))
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon(polygon, fill=255)
    mask = rasterise(polygons, height=12, width=10)
    assert mask.dtype == bool
    assert np.array_equal(mask, np.asarray(picture) == 255)
