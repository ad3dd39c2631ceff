import numpy as np
import pytest
from pydantic import ValidationError

from vesselrl.metrics.masks import overlap_scores
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.parameters import FilterParameters, SegmenterParameters
from vesselrl.segmenters.tophat import TophatSegmenter

SETTINGS = {
    "kind": "tophat",
    "default_prompt": "vessels",
    "max_side": 320,
    "prompts": {
        "vessels": {"scales": [7], "fraction": 0.08, "min_size": 250},
        "thin branches": {"scales": [4], "fraction": 0.07, "min_size": 80},
        "every vessel": {"scales": [5, 9], "fraction": 0.11, "min_size": 100},
    },
}
PARAMETERS = FilterParameters(**SETTINGS)
PROMPTS = list(PARAMETERS.prompts)


@pytest.fixture(scope="module")
def segmenter():
    return build_segmenter(PARAMETERS)


def test_the_kind_alone_names_the_segmenter(segmenter):
    assert isinstance(segmenter, TophatSegmenter)


def test_it_finds_dark_vessels(segmenter, image, truth):
    maps = segmenter.probabilities(image, [PARAMETERS.default_prompt])
    scores = overlap_scores(maps > 0.5, truth)
    assert scores["recall"][0] > 0.95
    assert scores["dice"][0] > 0.75  # its fraction asks for more than there is


def test_every_prompt_gives_another_mask(segmenter, image):
    masks = segmenter.probabilities(image, PROMPTS) > 0.5
    assert len({mask.tobytes() for mask in masks}) == len(PROMPTS)


@pytest.mark.parametrize("angle", np.arange(0, 180, 10))
def test_a_line_answers_in_every_direction_and_a_spot_of_its_width_hardly(segmenter, angle):
    rows, columns = np.mgrid[-40:41, -40:41]
    across = rows * np.cos(np.radians(angle)) - columns * np.sin(np.radians(angle))
    scene = np.where(np.abs(across) < 2.5, -1, 0).astype(np.float32)
    spot = np.where(np.hypot(rows, columns) < 2.5, -1, 0).astype(np.float32)
    of_line, of_spot = (segmenter.response(one, 8)[40, 40] for one in (scene, spot))
    assert of_line > 0.6
    assert of_spot < 0.1


def test_a_vessel_wider_than_the_lines_is_not_looked_for(segmenter):
    wide = np.zeros((80, 80), np.float32)
    wide[30:50] = -1
    assert segmenter.response(wide, 5)[40, 40] == pytest.approx(0, abs=1e-6)
    assert segmenter.response(wide, 12)[40, 40] > 0.9


def test_an_edge_is_no_vessel(segmenter):
    step = np.where(np.arange(80) < 40, -1, 0).astype(np.float32) * np.ones((80, 1), np.float32)
    assert segmenter.response(step, 8).max() < 0.05


def test_outside_the_collimator_there_is_nothing(segmenter, image):
    rows, columns = np.mgrid[:200, :200]
    outside = np.hypot(rows - 100, columns - 100) > 95
    maps = segmenter.probabilities(np.where(outside, 5, image).astype(np.uint8), PROMPTS)
    assert maps[:, outside].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (7, 5, 3), (64, 64), (1, 900)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_grey_has_no_vessels(segmenter, shape, value):
    maps = segmenter.probabilities(np.full(shape, value, np.uint8), PROMPTS)
    assert maps.shape == (len(PROMPTS), *shape[:2])
    assert maps.max(initial=0) < 0.5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "liver"}, "kind is 'liver'; expected one of ridge, tophat, "),
        ({"prompts": {"vessels": {"scales": [8], "fraction": 0.1}}}, "prompts.vessels.min_size"),
        (
            {"prompts": {"vessels": {"scales": [40], "fraction": 0.1, "min_size": 0}}},
            r"prompts.vessels.scales.0\s.*20",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named(change, named):
    with pytest.raises(ValidationError, match=named):
        SegmenterParameters.model_validate({**SETTINGS, **change})
