"""Recipes of every kind."""

import numpy as np
import pytest
from small_methods import (
    ACTIONS,
    METHODS,
    NETWORKS,
    POLICIES,
    RIDGE_PROMPTS,
    UNET_PROMPTS,
    policy,
    reward_network,
    segmentation_network,
)

from vesselrl.evaluation.parameters import Method
from vesselrl.prediction.calibration import Calibration
from vesselrl.prediction.recipe import Recipe
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.segmenters.unet.weights import save_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file for ``segmenter.weights``, under a path that names a patient."""
    path = tmp_path_factory.mktemp("of_jane_doe") / "jane_doe.safetensors"
    save_weights(path, segmentation_network(), {"trained on": "jane_doe"})
    return path


@pytest.fixture(scope="session")
def unet(weights):
    return SegmenterParameters.model_validate(
        {"kind": "unet", "weights": str(weights), "default_prompt": "vessels",
         "prompts": UNET_PROMPTS}
    )  # fmt: skip


@pytest.fixture(scope="session")
def ridge():
    return SegmenterParameters.model_validate(
        {"kind": "ridge", "default_prompt": "vessels", "max_side": 64, "prompts": RIDGE_PROMPTS}
    )


@pytest.fixture(scope="session")
def make_recipe(unet):
    """Makes the recipe of a method of `METHODS`."""

    def make(name, segmenter=unet, **changes):
        asked = NETWORKS.get(name, ())
        networks = {network: segmentation_network(i).state() for i, network in enumerate(asked)}
        random = np.random.default_rng(0)
        raw = {score: random.random(8) for score in ("dice", "recall", "precision")}
        true = {score: random.random(8) for score in raw}
        settings = {
            "name": name,
            "method": Method(**METHODS[name]),
            "segmenter": segmenter,
            "actions": ACTIONS,
            "objective": ["dice", "recall"],
            "static": 4,
            "threshold": 0.45 if networks else None,
            "policy": policy(*POLICIES[name]) if name in POLICIES else None,
            "network": networks or None,
            "refiner": reward_network().state() if name == "refine" else None,
            "reward_network": reward_network().state(),
            "calibration": Calibration.fit(raw, true, list("aabbccdd"), 0.6, None),
        }
        return Recipe(**(settings | changes))

    return make


@pytest.fixture(scope="session")
def image():
    """Not square, longer than the networks look at, its sides no multiples of anything."""
    return np.random.default_rng(5).integers(0, 256, (61, 83)).astype(np.uint8)
