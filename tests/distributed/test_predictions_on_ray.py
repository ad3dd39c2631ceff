import csv
import pickle
from functools import partial

import numpy as np
import pytest

from vesselrl.distributed.parameters import RayParameters
from vesselrl.evaluation.parameters import Method
from vesselrl.networks.architecture import Architecture
from vesselrl.prediction.calibration import Calibration
from vesselrl.prediction.folder import JOURNAL, PendingPredictions, PredictionFolder
from vesselrl.prediction.predictor import Predictor
from vesselrl.prediction.recipe import Recipe
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.parameters import ActionParameters
from vesselrl.segmenters.parameters import FilterParameters

RAY = {"ray": RayParameters(num_workers=1, gpus_per_worker=0, address=None)}


@pytest.fixture(scope="module")
def predictor():
    """The default prompt of the ridge filters, rated by a network that nobody trained."""
    architecture = Architecture(2, (4, 4, 8, 8, 8, 4), downscale=1)
    judge = RewardNetwork([architecture.build(0).eval()], architecture, 48, Scoring("min", 0.5))
    prompts = {"all": {"scales": [2], "fraction": 0.1, "min_size": 0}}
    segmenter = FilterParameters(kind="ridge", default_prompt="all", max_side=64, prompts=prompts)
    actions = ActionParameters(thresholds=[0.5], operations={"dilate": {"kind": "dilate"}})
    recipe = Recipe(
        "default", Method(kind="default"), segmenter, actions, ["dice"], None, None, None, None,
        None, judge.state(), Calibration.unknown(),
    )  # fmt: skip
    return Predictor(recipe)


def draw(seed):
    if seed == 3:
        raise ValueError("the file is damaged")
    return np.random.default_rng(seed).integers(0, 255, (40, 32), dtype=np.uint8)


def pending(predictor, count, **workers):
    images = {f"{seed:02}": partial(draw, seed) for seed in range(count)}
    return PendingPredictions(
        images, dict.fromkeys(images, "k"), predictor.predict, predictor.prepare, True, **workers
    )


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("*/*.png")}


def scores(folder):
    """What is known of each image, times apart."""
    return {
        sample: {**stored.scores, "seconds": None}
        for sample, stored in PredictionFolder(folder).load().items()
    }


@pytest.mark.parametrize("workers", [RAY, {"devices": ["cpu"]}], ids=["ray", "devices"])
def test_predictions_of_workers_are_those_made_here_each_put_down_once(
    request, predictor, tmp_path, workers
):
    if "ray" in workers:
        request.getfixturevalue("cluster")
    here, there = tmp_path / "here", tmp_path / "there"
    PredictionFolder(here).make(pending(predictor, 6))
    PredictionFolder(there).make(pending(predictor, 2))
    first = {file: file.stat().st_mtime_ns for file in there.glob("*/*.png")}
    PredictionFolder(there).make(pending(predictor, 6, **workers))
    assert files(there) == files(here)
    assert len(files(here)) == 3 * 5
    assert scores(there) == scores(here)
    assert "the file is damaged" in scores(there)["03"]["error"]
    assert {file: file.stat().st_mtime_ns for file in first} == first
    with (there / JOURNAL).open() as stream:
        assert len(list(csv.reader(stream, delimiter="\t"))) == 6


def test_a_copy_of_a_predictor_predicts_the_same(predictor):
    copy, image = pickle.loads(pickle.dumps(predictor)), draw(1)
    one, other = predictor.predict(image), copy.predict(image)
    assert np.array_equal(one.mask, other.mask)
    assert np.array_equal(one.error, other.error)
    assert one.dice == other.dice
