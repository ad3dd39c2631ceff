from pathlib import Path

import pytest
import yaml
from pydantic import SerializeAsAny, ValidationError

from vesselrl.parameters import ParameterModel
from vesselrl.segmenters.parameters import FilterParameters, SegmenterParameters

SETTINGS = {
    "kind": "ridge",
    "default_prompt": "vessels",
    "max_side": 320,
    "prompts": {"vessels": {"scales": [2, 3], "fraction": 0.1, "min_size": 100}},
}


class Group(ParameterModel):
    segmenter: SerializeAsAny[SegmenterParameters]


def test_the_kind_decides_which_settings_a_segmenter_has():
    expected = FilterParameters(**SETTINGS)
    assert SegmenterParameters.model_validate(SETTINGS) == expected
    assert Group(segmenter=SETTINGS).segmenter == expected


def test_what_is_kept_of_a_group_holds_the_settings_of_its_kind():
    assert Group(segmenter=SETTINGS).model_dump()["segmenter"] == SETTINGS


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "liver"}, "kind is 'liver'; expected one of ridge, tophat"),
        ({"max_side": 1}, r"segmenter.max_side\s.*32"),
        ({"path": "x"}, r"segmenter.path\s.*not permitted"),
        ({"prompts": {"vessels": {"text": "x"}}}, r"segmenter.prompts.vessels.scales\s"),
        ({"devices": []}, r"segmenter.devices\s.*at least 1"),
        ({"devices": [0, "gpu"]}, r"segmenter.devices.1"),
        ({"default_prompt": "liver"}, "'liver', which is not among the prompts: vessels"),
    ],
)
def test_a_wrong_setting_is_named_as_it_stands_in_conf(change, named):
    with pytest.raises(ValidationError, match=named):
        Group(segmenter=SETTINGS | change)


@pytest.mark.parametrize(("environment", "kind"), [("base", "unet"), ("ridge", "ridge")])
def test_every_environment_has_eleven_prompts_of_its_kind(environment, kind):
    conf = Path(__file__).parents[2] / "conf" / environment / "parameters_segment.yml"
    values = yaml.safe_load(conf.read_text())["segmenter"]
    parameters = SegmenterParameters.model_validate(values)
    assert parameters.kind == kind
    assert len(parameters.prompts) == 11
    assert parameters.default_prompt == "coronary arteries"
