"""Whoever writes a segmenter is told which rule it breaks."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import PrivateAttr, ValidationError

from vesselrl.errors import VesselrlError
from vesselrl.segmenters import base
from vesselrl.segmenters.base import PromptsFailed, check_image, settings_of
from vesselrl.segmenters.candidates import make_candidates
from vesselrl.segmenters.checks import check_segmenter
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.parameters import FilterParameters

CONF = Path(__file__).parents[2] / "conf"


def parameters(fractions=(0.1, 0.2, 0.3), kind="planted"):
    settings = {"scales": [1], "min_size": 0}
    named = {f"p{n}": settings | {"fraction": cut} for n, cut in enumerate(fractions)}
    return FilterParameters(kind=kind, default_prompt="p0", max_side=64, prompts=named)


class Good:
    """Dark is vessel; how dark is the prompt's matter."""

    def __init__(self, parameters):
        self.settings = parameters.prompts
        self.encoder_passes = 0

    def probabilities(self, image, prompts):
        check_image(image)
        cuts = [setting.fraction for setting in settings_of(self.settings, prompts)]
        self.encoder_passes += 1
        grey = (image if image.ndim == 2 else image[..., 1]).astype(np.float32)
        return np.stack([np.clip(1 - grey / 256 - np.float32(cut), 0, 1) for cut in cuts])


class Answering(Good):
    """Answers what is no question."""

    def probabilities(self, image, prompts):
        known = [prompt if prompt in self.settings else "p0" for prompt in prompts]
        return super().probabilities(image, known)


class Odd(Good):
    """Refuses with another error than a sentence."""

    def probabilities(self, image, prompts):
        if image.dtype != np.uint8:
            raise TypeError("odd")
        return super().probabilities(image, prompts)


class Planted(Good):
    """Breaks the rule that it is told to."""

    rule = None
    copies = count()

    def __init__(self, parameters):
        super().__init__(parameters)
        self.number, self.questions = next(self.copies), count()

    def probabilities(self, image, prompts):
        maps = super().probabilities(image, prompts)
        return maps if self.rule is None else BREAKS[self.rule][0](self, image, prompts, maps)


def note(segmenter, name, value):
    """What was noted first under a name."""
    return vars(segmenter).setdefault(name, value)


def fails(error):
    raise error


def after_another(segmenter, image, _, maps):
    segmenter.last, last = image.copy(), getattr(segmenter, "last", image)
    return maps if np.array_equal(last, image) else maps / 2


def by_identity(segmenter, image, prompts, maps):
    return note(segmenter, "known", {}).setdefault((id(image), tuple(prompts)), (image, maps))[1]


def in_place(_, image, prompts, maps):
    image[0, 0] ^= 1
    return maps


def uncounted(segmenter, image, prompts, maps):
    segmenter.encoder_passes = 0
    return maps


def counted_twice(segmenter, image, prompts, maps):
    segmenter.encoder_passes += 2 * len(prompts)
    return maps


BREAKS = {
    "no colour": (
        lambda s, i, p, m: m if i.ndim == 2 else fails(IndexError("too many indices")),
        r"Asked p0, p1.* shape \(48, 64, 3\), the segmenter fails: IndexError: too many indices",
    ),
    "a prompt that fails": (
        lambda s, i, p, m: fails(PromptsFailed(m, {p[-1]: ValueError("odd")})),
        r"fails: PromptsFailed: 1 of \d prompts failed; first 'p\d': ValueError: odd",
    ),
    "height and width": (
        lambda s, i, p, m: m.swapaxes(1, 2),
        r"no probability maps. The maps have shape \(\d, 64, 48\); expected \(\d, 48, 64\)",
    ),
    "one map too few": (lambda s, i, p, m: m[:-1], r"The maps have shape \(\d, 48, 64\); expected"),
    "a list": (lambda s, i, p, m: list(m), "The maps are a list; expected an array"),
    "float64": (lambda s, i, p, m: m.astype(float), "gives maps of float64; expected float32"),
    "above 1": (lambda s, i, p, m: m + 1.5, r"must lie in \[0, 1\]; found 1\.5 to [12]\."),
    "below 0": (lambda s, i, p, m: m - 2, r"must lie in \[0, 1\]; found -2\.0 to"),
    "not a number where all is black": (
        lambda s, i, p, m: m if i.any() else m * np.float32(np.nan),
        r"shape \(48, 64\), .*must lie in \[0, 1\]; found nan to nan",
    ),
    "the image": (in_place, "changes the image: let it work on a copy"),
    "chance": (
        lambda s, i, p, m: m / np.float32(1 + next(s.questions) % 2),
        "other maps when it is asked the same again",
    ),
    "together": (
        lambda s, i, p, m: m / np.float32(len(p)), r"is asked 'p0' alone, not among all prompts"
    ),
    "order": (
        lambda s, i, p, m: m / 2 if p[0] > p[-1] else m, "is asked the prompts in another order"
    ),
    "the image before": (after_another, "is asked again after other images"),
    "the array": (by_identity, "shown an image in the array of an earlier one"),
    "the first image": (
        lambda s, i, p, m: m / note(s, "first", np.float32(1 + int(i.sum()) % 7)),
        "is built once more from the same parameters",
    ),
    "weights that nobody seeded": (
        lambda s, i, p, m: m / np.float32(1 + s.number % 2),
        "is built once more from the same parameters: a map must depend on image and prompt",
    ),
    "no pass counted": (uncounted, r"encoder_passes grew by 0 .*; expected 1, or up to"),
    "passes counted twice": (counted_twice, r"grew by \d+ with its first image"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def kinds():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Good", "Answering", "Odd", "Planted"):
            patch.setitem(base._CLASSES, name.lower(), f"{__name__}:{name}")
        yield


@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_told_in_a_sentence(rule, monkeypatch):
    monkeypatch.setattr(Planted, "rule", rule)
    with pytest.raises(VesselrlError, match=BREAKS[rule][1]):
        check_segmenter(parameters())


@settings(max_examples=15)
@given(
    st.sampled_from([None, *BREAKS]),
    st.lists(st.floats(0.01, 0.4), min_size=2, max_size=4, unique=True),
)
def test_whatever_the_prompts_only_a_segmenter_that_breaks_no_rule_passes(rule, fractions):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Planted, "rule", rule)
        if rule is None:
            check_segmenter(parameters(fractions))
        else:
            with pytest.raises(VesselrlError, match=BREAKS[rule][1]):
                check_segmenter(parameters(fractions))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("answering", "Asked 'no such prompt' .*, the segmenter answers; expected a VesselrlError"),
        ("odd", r"image of float32 and shape \(48, 64\), the segmenter raises TypeError; expected"),
    ],
)
def test_what_cannot_be_asked_must_be_refused_in_a_sentence(kind, sentence):
    with pytest.raises(VesselrlError, match=sentence):
        check_segmenter(parameters(kind=kind))


@pytest.mark.parametrize("count", [np.nan, None])
def test_a_segmenter_need_not_count_what_is_dear(monkeypatch, count):
    asked = Good.probabilities

    def uncounted(self, image, prompts):
        self.encoder_passes = 0
        maps = asked(self, image, prompts)
        self.encoder_passes = count
        return maps

    monkeypatch.setattr(Good, "probabilities", uncounted)
    check_segmenter(parameters(kind="good"))


def test_levels_of_its_own_must_be_those_of_its_maps(monkeypatch):
    def darker(self, image, prompts):
        return to_levels(self.probabilities(image, prompts) * cut)

    monkeypatch.setattr(Good, "probability_levels", darker, raising=False)
    cut = 1
    check_segmenter(parameters(kind="good"))
    cut = 0.9
    with pytest.raises(VesselrlError, match="other maps when it is asked for its probability_lev"):
        check_segmenter(parameters(kind="good"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda maps: maps, "of float32; expected uint8"),
        (lambda maps: to_levels(maps)[0], "shape .48, 64.; expected .3, 48, 64."),
        (lambda maps: to_levels(maps).tolist(), "are a list"),
        (lambda maps: maps.missing, "probability_levels, the segmenter fails: AttributeError"),
    ],
)
def test_levels_of_its_own_must_be_levels(monkeypatch, wrong, sentence):
    def levels(self, image, prompts):
        return wrong(self.probabilities(image, prompts))

    monkeypatch.setattr(Good, "probability_levels", levels, raising=False)
    with pytest.raises(VesselrlError, match=sentence):
        check_segmenter(parameters(kind="good"))
    image = np.zeros((48, 64), np.uint8)
    made = make_candidates("a", image, Good(parameters(kind="good")), ["p0"])
    assert made["failed"].all()


def test_parameters_must_reach_a_worker_process():
    class Unsendable(FilterParameters):
        _model: object = PrivateAttr(default_factory=lambda: lambda: None)

    values = parameters(kind="good").model_dump()
    with pytest.raises(VesselrlError, match=r"cannot be sent to a worker process .*Unsendable"):
        check_segmenter(Unsendable(**values))


def test_parameters_that_the_kind_does_not_have_are_refused():
    with pytest.raises(ValidationError, match="max_side"):
        check_segmenter(parameters(kind="ridge").model_dump() | {"max_side": 0})


@pytest.mark.parametrize("environment", ["base", "ridge"])
def test_the_shipped_segmenters_keep_the_contract(environment):
    conf = (CONF / environment / "parameters_segment.yml").read_text(encoding="utf-8")
    check_segmenter(yaml.safe_load(conf)["segmenter"])


def test_the_segmenter_that_a_reward_network_never_met_keeps_the_contract():
    conf = yaml.safe_load((CONF / "base/parameters_reward_net.yml").read_text(encoding="utf-8"))
    check_segmenter(conf["reward"]["unseen_segmenter"])
