"""Methods whose maps come from networks that the project trained."""

import numpy as np
import pytest
from pydantic import ValidationError

from vesselrl.evaluation.networks import network_deciders, operating_points, run_of
from vesselrl.evaluation.parameters import Method
from vesselrl.metrics.masks import objective_of, overlap_scores
from vesselrl.segmenters.levels import from_levels

IMAGES = ("v1", "v2", "t1")
RUNS = ("distilled", "supervised", "supervised/seeds/7")
METHOD = Method(kind="network", network="supervised")


def levels(run, image):
    seed = RUNS.index(run) + 10 * IMAGES.index(image)
    return np.random.default_rng(seed).integers(0, 256, (20, 30)).astype(np.uint8)


MAPS = {
    f"{run}/{image}": (
        lambda run=run, image=image: {"levels": levels(run, image), "seconds": np.array(0.5)}
    )
    for run in RUNS
    for image in IMAGES
}
MASKS = {
    image: (lambda n=number: np.random.default_rng(n).random((20, 30)) < 0.4)
    for number, image in enumerate(IMAGES)
}


class OfImage:
    """A case of which only the name matters."""

    def __init__(self, sample):
        self.sample = sample


def test_each_run_is_cut_where_it_scores_best_on_validation_images_alone():
    points = operating_points(MAPS, MASKS, ["v1", "v2"], ["dice", "recall"])
    assert list(points) == list(RUNS)
    for run, point in points.items():
        scores = []
        for image in ("v1", "v2"):
            mask = from_levels(levels(run, image)) > point["threshold"]
            of_mask = overlap_scores(mask[None], MASKS[image]())
            scores.append(objective_of(of_mask, ["dice", "recall"])[0])
        assert point["objective"] == pytest.approx(np.mean(scores))


def test_every_seed_of_a_network_decides_with_a_threshold_of_its_own():
    points = {run: {"threshold": 0.1 * (n + 1)} for n, run in enumerate(RUNS)}
    deciders = network_deciders(METHOD, MAPS, points, ["t1"], seed=42)
    assert list(deciders) == [42, 7]
    decisions = [decide(OfImage("t1")) for decide in deciders.values()]
    assert [decision.threshold for decision in decisions] == [0.2, pytest.approx(0.3)]
    assert all((decision.calls, decision.seconds) == (0, 0.5) for decision in decisions)


def test_a_threshold_in_conf_comes_before_that_of_the_validation_images():
    method = METHOD.model_copy(update={"threshold": 0.5})
    deciders = network_deciders(method, MAPS, {"supervised": {"threshold": 0.2}}, ["t1"], 42)
    assert deciders[42](OfImage("t1")).threshold == 0.5


@pytest.mark.parametrize("missing", ["supervised/t1", "supervised/seeds/7/t1"])
def test_a_network_without_the_map_of_an_image_does_not_decide(missing):
    maps = {name: load for name, load in MAPS.items() if name != missing}
    points = {run: {"threshold": 0.5} for run in RUNS}
    assert network_deciders(METHOD, maps, points, ["t1"], 42) == {}


def test_the_first_seed_keeps_its_number_whatever_the_seed_of_the_run():
    """That of the run is 7 here, and so is the second of the network's."""
    first = {"levels": levels("supervised", "t1"), "seconds": np.array(0.5), "seed": np.array(3)}
    points = {run: {"threshold": 0.1 * (n + 1)} for n, run in enumerate(RUNS)}
    deciders = network_deciders(METHOD, MAPS | {"supervised/t1": lambda: first}, points, ["t1"], 7)
    assert list(deciders) == [3, 7]
    thresholds = [decide(OfImage("t1")).threshold for decide in deciders.values()]
    assert thresholds == [0.2, pytest.approx(0.3)]


@pytest.mark.parametrize(
    ("prediction", "run"),
    [("mine/masks/a", "supervised"), ("mine/seeds/7/masks/a", "supervised/seeds/7")],
)
def test_a_prediction_is_drawn_from_the_run_of_its_seed(prediction, run):
    assert run_of(METHOD, "mine", prediction, "a") == run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "network"}, "needs 'network', one of supervised"),
        ({"kind": "network", "network": "unet"}, "found 'unet'"),
        ({"kind": "network", "network": "supervised", "threshold": 1}, "less than 1"),
        ({"kind": "default", "network": "supervised"}, "only network methods"),
        ({"kind": "static", "threshold": 0.4}, "only network methods"),
    ],
)
def test_settings_that_make_no_network_method_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Method(**settings)
