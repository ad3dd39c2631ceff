"""Masks as Sa2VA's official fine-tuning code reads them."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from vesselrl.annotations.parameters import Sa2vaDataParameters
from vesselrl.annotations.polygons import polygonise
from vesselrl.annotations.sa2va import outlines, training_entry
from vesselrl.pipelines.sa2va_data import create_pipeline


def filled_by_coco(polygon, height, width):
    """The algorithm of ``rleFrPoly`` in maskApi.c of pycocotools 2.0, int (height, width)."""
    scale = 5
    xs = [int(scale * x + 0.5) for x in polygon[::2]]
    ys = [int(scale * y + 0.5) for y in polygon[1::2]]
    points = []
    for xs_, ys_, xe, ye in zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True):
        dx, dy = abs(xe - xs_), abs(ye - ys_)
        flip = (dx >= dy and xs_ > xe) or (dx < dy and ys_ > ye)
        x0, y0, x1, y1 = (xe, ye, xs_, ys_) if flip else (xs_, ys_, xe, ye)
        steps = max(dx, dy)
        slope = 0.0 if steps == 0 else ((y1 - y0) if dx >= dy else (x1 - x0)) / steps
        for step in range(steps + 1):
            t = steps - step if flip else step
            if dx >= dy:
                points.append((t + x0, int(y0 + slope * t + 0.5)))
            else:
                points.append((int(x0 + slope * t + 0.5), t + y0))
    toggles = np.zeros(height * width + 1, int)
    for (u0, v0), (u1, v1) in pairwise(points):
        if u0 == u1:
            continue
        x = ((u1 if u1 < u0 else u1 - 1) + 0.5) / scale - 0.5
        if x != np.floor(x) or not 0 <= x <= width - 1:
            continue
        y = np.clip((min(v0, v1) + 0.5) / scale - 0.5, 0, height)
        toggles[int(x) * height + int(np.ceil(y))] += 1
    return (np.cumsum(toggles)[:-1] % 2).reshape(width, height).T


def filled(polygons, shape):
    """As the official code adds polygons up."""
    return sum((filled_by_coco(one, *shape) for one in polygons), np.zeros(shape, int))


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
@settings(deadline=None)
def test_the_official_code_gets_back_every_mask_pixel_for_pixel_and_none_twice(mask):
    np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


def test_pixels_that_touch_at_a_corner_and_holes_are_no_exception():
    mask = np.array([[1, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool)
    polygons = outlines(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    assert all(len(polygon) >= 8 for polygon in polygons)  # four numbers would be taken for a box


def test_polygons_through_pixel_centres_would_lose_the_outermost_pixels():
    vessel = np.zeros((12, 12), bool)
    vessel[1:11, 4:7] = True
    assert filled(polygonise(vessel), vessel.shape).sum() < 0.7 * vessel.sum()
    assert filled(outlines(vessel), vessel.shape).sum() == vessel.sum()


def test_an_entry_has_a_list_of_polygons_for_its_one_phrase():
    mask = np.zeros((4, 5), bool)
    mask[1, 1] = mask[3, 3:] = True
    entry = training_entry("a.png", mask, "blood vessel")
    assert json.loads(json.dumps(entry)) == {
        "image": "a.png",
        "mask": [[[1, 1, 2, 1, 2, 2, 1, 2], [3, 3, 5, 3, 5, 4, 3, 4]]],
        "text": ["blood vessel"],
    }


@pytest.fixture
def made():
    """What the pipeline makes of three training images, one without vessels, and others."""
    masks = {f"i{n}": np.eye(8, dtype=bool) if n != 1 else np.zeros((8, 8), bool) for n in range(5)}
    images = {name: np.full((8, 8), n, np.uint8) for n, name in enumerate(masks)}
    splits = ["train", "train", "val", "test", "train"]
    catalog = DataCatalog()
    catalog["images"] = {name: (lambda image=image: image) for name, image in images.items()}
    catalog["masks"] = {name: (lambda mask=mask: mask) for name, mask in masks.items()}
    catalog["samples"] = pd.DataFrame({"id": list(masks), "split": splits})
    catalog["params:sa2va_data"] = Sa2vaDataParameters(phrase="vessel")
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    return {name: dataset.load() for name, dataset in outputs.items()}


def test_only_the_training_split_is_written_and_of_it_what_shows_vessels(made):
    assert [entry["image"] for entry in made["sa2va_annotations"]] == ["i0.png", "i4.png"]
    assert {name: int(load()[0, 0]) for name, load in made["sa2va_images"].items()} == {
        "i0": 0,
        "i4": 4,
    }
    assert {entry["text"][0] for entry in made["sa2va_annotations"]} == {"vessel"}


@pytest.mark.parametrize("phrase", ["", " ", "."])
def test_a_phrase_that_says_nothing_is_refused(phrase):
    with pytest.raises(ValidationError):
        Sa2vaDataParameters(phrase=phrase)


def test_the_folder_is_as_the_official_code_expects_it(project):
    catalog = yaml.safe_load((project / "conf/base/catalog_sa2va_data.yml").read_text())
    annotations = catalog["sa2va_annotations"]["filepath"]
    images = catalog["sa2va_images"]["path"]
    assert annotations.removesuffix("annotations.json") == images.removesuffix("images")
