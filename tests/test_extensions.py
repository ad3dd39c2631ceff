"""Modules that a user adds, named in conf."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from vesselrl import extensions
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import METRIC_COLUMNS, EvaluationParameters
from vesselrl.pipelines.evaluation.nodes import score_predictions
from vesselrl.report.comparison import image_scores
from vesselrl.rl.operations import apply_operation
from vesselrl.rl.parameters import Operation
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.keys import code_of
from vesselrl.segmenters.parameters import SegmenterParameters

SEGMENTER = """
import numpy as np
from vesselrl.segmenters.base import check_image, settings_of
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.parameters import ParameterModel

class Cut(ParameterModel):
    grey: int

class Parameters(SegmenterParameters):
    prompts: dict[str, Cut]

class Segmenter:
    def __init__(self, parameters):
        self._prompts = parameters.prompts

    def probabilities(self, image, prompts):
        check_image(image)
        cuts = settings_of(self._prompts, prompts)
        return np.stack([(image < cut.grey).astype(np.float32) for cut in cuts])
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module where the user's are."""
    monkeypatch.setattr(extensions, "__path__", [*extensions.__path__, str(tmp_path)])

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)

    return write


def test_a_segmenter_is_one_module_and_an_entry_in_conf(write):
    write("below_a_grey", SEGMENTER)
    conf = {"kind": "below_a_grey", "default_prompt": "dark", "prompts": {"dark": {"grey": 9}}}
    segmenter = build_segmenter(SegmenterParameters.model_validate(conf))
    maps = segmenter.probabilities(np.array([[3, 200]], np.uint8), ["dark"])
    assert maps.tolist() == [[[1.0, 0.0]]]
    with pytest.raises(ValidationError, match="prompts.dark.grey"):
        SegmenterParameters.model_validate(conf | {"prompts": {"dark": {"grey": "x"}}})


def test_maps_of_an_edited_segmenter_are_made_again_and_those_of_its_neighbours_are_not(write):
    write("edited", SEGMENTER)
    write("neighbour", "")
    before = code_of("edited")
    write("neighbour", "changed = True")
    assert code_of("edited") == before
    write("edited", SEGMENTER.replace("<", "<="))
    assert code_of("edited") != before


def test_an_operation_is_one_module_and_an_entry_in_conf(write):
    write("cut_off_rows", "def operation(settings, mask, probability): return mask[:] & False\n")
    changed = apply_operation(
        Operation(kind="cut_off_rows"), np.ones((2, 2), bool), np.ones((2, 2), np.float32)
    )
    assert not changed.any()


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        ("probability", r"float32 of shape \(2, 2\)"),
        ("mask[:1]", r"bool of shape \(1, 2\)"),
        ("None", "NoneType"),
    ],
)
def test_an_operation_that_gives_no_mask_is_a_sentence(write, returned, found):
    name = f"gives_{found[:4].lower()}"
    write(name, f"def operation(settings, mask, probability): return {returned}\n")
    with pytest.raises(VesselrlError, match=rf"{name}\.py: operation gives {found}"):
        apply_operation(Operation(kind=name), np.ones((2, 2), bool), np.ones((2, 2), np.float32))


def test_an_operation_may_change_what_it_is_given(write):
    code = "def operation(settings, mask, probability): mask[:], probability[:] = 0, 0; return mask"
    write("in_place", code)
    mask, probability = np.ones((2, 2), bool), np.ones((2, 2), np.float32)
    assert not apply_operation(Operation(kind="in_place"), mask, probability).any()
    assert mask.all()
    assert probability.all()


def test_a_metric_of_ones_own_takes_the_name_of_none_that_is_built_in(write):
    write("dice", "def metric(found, true): return 1.0\n")
    with pytest.raises(ValidationError, match="'dice' is built in: give the module .* another"):
        EvaluationParameters(methods={"default": {"kind": "default"}}, metrics=["dice"])


def test_a_metric_is_one_module_and_an_entry_in_conf_and_reaches_the_report(write):
    write("extra_pixels", "def metric(found, true): return (found.mask & ~true.mask).sum()\n")
    metrics = EvaluationParameters(
        methods={"default": {"kind": "default"}}, metrics=["extra_pixels"]
    ).metrics
    truth = np.eye(8, dtype=bool)
    choices = pd.DataFrame(
        [{"method": "default", "seed": 0, "image": "a", "prediction": "default/a",
          "segmenter_calls": 1, "seconds": 0.1}]
    )  # fmt: skip
    samples = pd.DataFrame([{"id": "a", "group": "p", "split": "test"}])
    mask = np.fliplr(truth) | truth
    table = score_predictions(
        choices, {"default/a": lambda: mask}, {"a": lambda: truth}, samples, metrics
    )
    assert list(table.columns) == [*METRIC_COLUMNS, "extra_pixels"]
    scores = image_scores(table, ("dice",))
    assert scores.loc[("default", "a"), "extra_pixels"] == 8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Operation(kind="opning"),
        lambda: EvaluationParameters(methods={"a": {"kind": "default"}}, metrics=["opning"]),
        lambda: SegmenterParameters.model_validate({"kind": "opning"}),
    ],
    ids=["operation", "metric", "segmenter"],
)
@pytest.mark.parametrize("name", ["opning", "os", "..errors"])
def test_what_is_neither_built_in_nor_a_module_there_is_refused_by_name(wrong, name, monkeypatch):
    monkeypatch.setattr(extensions, "extensions", lambda: ["mine"])
    with pytest.raises(ValidationError, match=r"(kind|metric) is 'opning'; expected one of .*mine"):
        wrong()
    with pytest.raises(VesselrlError, match="has no module of that name"):
        extensions.extension(name, "operation")


ASKED = {
    "operation": lambda name: Operation(kind=name),
    "metric": lambda name: EvaluationParameters(
        methods={"default": {"kind": "default"}}, metrics=[name]
    ),
    "Parameters": lambda name: SegmenterParameters.model_validate({"kind": name}),
}


@pytest.mark.parametrize(("part", "ask"), ASKED.items(), ids=ASKED.keys())
@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("half_done", "", r"half_done\.py has no '{part}'"),
        ("misspelt", "def f(:", r"misspelt\.py cannot be loaded: SyntaxError: .*line 1"),
        ("without_package", "import no_such_package", "cannot be loaded: .*'no_such_package'"),
    ],
)
def test_a_module_that_cannot_be_what_conf_asks_it_for_is_refused_before_a_run(
    write, part, ask, name, code, sentence
):
    write(name, code)
    with pytest.raises(ValidationError, match=sentence.format(part=part)):
        ask(name)
