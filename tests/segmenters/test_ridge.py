from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from scipy import ndimage

from vesselrl.errors import VesselrlError
from vesselrl.metrics.masks import overlap_scores
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.parameters import FilterParameters

CONF = Path(__file__).parents[2] / "conf" / "ridge" / "parameters_segment.yml"
SETTINGS = yaml.safe_load(CONF.read_text(encoding="utf-8"))["segmenter"]
PARAMETERS = FilterParameters(**SETTINGS)
PROMPTS = list(PARAMETERS.prompts)


@pytest.fixture(scope="module")
def segmenter():
    return build_segmenter(PARAMETERS)


def test_the_default_prompt_finds_dark_vessels(segmenter, image, truth):
    maps = segmenter.probabilities(image, [PARAMETERS.default_prompt])
    assert overlap_scores(maps > 0.5, truth)["dice"][0] > 0.8


def test_every_prompt_gives_another_mask(segmenter, image):
    masks = segmenter.probabilities(image, PROMPTS) > 0.5
    assert len({mask.tobytes() for mask in masks}) == len(PROMPTS)


def test_higher_thresholds_keep_less(segmenter, image):
    probability = segmenter.probabilities(image, [PARAMETERS.default_prompt])[0]
    kept = [(probability > threshold).sum() for threshold in (0.3, 0.5, 0.7)]
    assert kept[0] > kept[1] > kept[2] > 0


def test_small_regions_are_left_out_at_every_tenth(segmenter, image):
    probability = segmenter.probabilities(image, [PARAMETERS.default_prompt])[0]
    least = PARAMETERS.prompts[PARAMETERS.default_prompt].min_size
    for threshold in np.arange(1, 10, dtype=np.float32) / 10:
        regions, count = ndimage.label(probability > threshold, structure=np.ones((3, 3)))
        assert count == 0 or np.bincount(regions.ravel())[1:].min() >= least


def test_the_collimator_and_its_edge_are_no_vessel(segmenter, image):
    rows, columns = np.mgrid[:200, :200]
    outside = np.hypot(rows - 100, columns - 100) > 95
    maps = segmenter.probabilities(np.where(outside, 5, image).astype(np.uint8), PROMPTS)
    assert maps[:, outside].max() == 0
    edge = ndimage.binary_dilation(outside, iterations=6) & ~outside
    assert (maps[0] > 0.5)[edge].mean() < 0.15


def test_colour_images_are_read_in_green(segmenter, image):
    colour = np.stack([np.full_like(image, 200), image, np.zeros_like(image)], axis=-1)
    np.testing.assert_array_equal(
        segmenter.probabilities(colour, PROMPTS[:2]), segmenter.probabilities(image, PROMPTS[:2])
    )


def test_large_images_give_maps_of_their_own_size(segmenter, image, truth):
    large = np.kron(image, np.ones((2, 3), np.uint8))
    assert segmenter.probabilities(large, PROMPTS[:1]).shape == (1, 400, 600)
    double = np.kron(image, np.ones((2, 2), np.uint8))
    maps = segmenter.probabilities(double, PROMPTS[:1])
    large = np.kron(truth, np.ones((2, 2), bool))
    assert overlap_scores(maps > 0.5, large)["dice"][0] > 0.7


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 2), (7, 5, 3), (64, 64), (1, 900)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_grey_has_no_vessels(segmenter, shape, value):
    maps = segmenter.probabilities(np.full(shape, value, np.uint8), PROMPTS)
    assert maps.shape == (len(PROMPTS), *shape[:2])
    assert maps.max(initial=0) < 0.5


def test_no_prompts_give_no_maps(segmenter, image):
    assert segmenter.probabilities(image, []).shape == (0, 200, 200)


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5), np.uint8)],
)
def test_what_is_no_image_is_refused_with_what_was_expected(segmenter, image):
    with pytest.raises(VesselrlError, match="expected uint8"):
        segmenter.probabilities(image, PROMPTS)


def test_an_unknown_prompt_is_refused_with_the_known_ones(segmenter, image):
    with pytest.raises(VesselrlError, match="'liver'.*coronary arteries"):
        segmenter.probabilities(image, ["liver"])


def test_a_default_prompt_that_is_none_of_the_prompts_is_refused():
    with pytest.raises(ValidationError, match=r"'liver'.*coronary arteries"):
        FilterParameters(**{**SETTINGS, "default_prompt": "liver"})
