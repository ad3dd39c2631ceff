"""What may be asked of the supervised networks."""

import importlib
import math
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from vesselrl.segmenters.unet.parameters import SHIPPED, SupervisedParameters

ROOT = Path(__file__).parents[3]


def test_what_training_starts_from_is_named_or_a_path(supervised):
    files = {
        given: supervised.model_copy(update={"pretrained": given}).starting_file
        for given in ("none", "shipped", "/data/w.safetensors")
    }
    assert files == {
        "none": None,
        "shipped": SHIPPED,
        "/data/w.safetensors": Path("/data/w.safetensors"),
    }


def test_where_the_weights_lie_is_no_part_of_what_is_fingerprinted_and_printed(supervised):
    assert "pretrained" not in supervised.model_dump()


def test_angles_are_told_in_degrees(supervised):
    assert supervised.augmentation.strength.angle == pytest.approx(math.pi / 3)


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ([0.5], "the last 1"),
        ([0.5, 0.2, 1], "rising"),
        ([0, 1], "greater than 0"),
        ([], "at least"),
    ],
)
def test_checks_rise_to_the_end_of_training(supervised, checks, message):
    settings = supervised.model_dump() | {"pretrained": "none"}
    settings["training"] = settings["training"] | {"checks": checks}
    with pytest.raises(ValidationError, match=message):
        SupervisedParameters(**settings)


def test_a_patch_that_the_network_cannot_halve_is_refused(supervised):
    settings = supervised.model_dump() | {"pretrained": "none"}
    settings["training"] = settings["training"] | {"patch": 72}
    with pytest.raises(ValidationError, match="must be a multiple of 32"):
        SupervisedParameters(**settings)


def test_the_benchmark_measures_the_networks_of_the_configuration(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("segmenter")
    light, full = (
        yaml.safe_load((ROOT / f"conf/{env}/parameters_segmenter.yml").read_text())["supervised"]
        for env in ("base", "gpu")
    )
    assert light == benchmark.SETTINGS | {"training": benchmark.TRAINING}
    assert full["training"] == benchmark.FULL_SIZE
