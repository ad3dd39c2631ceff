from functools import partial

import numpy as np
import pytest
import torch

from vesselrl.checkpoints import Checkpoints
from vesselrl.pipelines.pretrain import nodes
from vesselrl.segmenters.unet import pretraining
from vesselrl.segmenters.unet.parameters import PretrainingParameters
from vesselrl.synthetic import patients


@pytest.fixture
def parameters():
    changes = dict.fromkeys(("angle", "zoom", "shear", "bend", "gamma", "gain"), 0.1)
    changes |= dict.fromkeys(("sharpness", "noise", "shadows", "inverted"), 0.1)
    return PretrainingParameters.model_validate(
        {
            "seed": 3,
            "patients": 5,
            "size": 64,
            "max_side": 64,
            "training": {
                "features": [4] * 6, "downscale": 1, "norm": "batch", "patch": 64, "batch": 2,
                "iterations": 6, "cycle": 12, "learning_rate": 0.01, "ema_decay": 0.5,
            },
            "augmentation": changes,
        }
    )  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """Five patients in files of two."""
    monkeypatch.setattr(patients, "AT_ONCE", 2)
    files = [patients.draw_patients(3 + first, min(2, 5 - first), 64) for first in (0, 2, 4)]
    return [lambda file=file: file for file in files]


def weights_of(network):
    return list(network.module.state_dict().values())


def test_the_number_of_files_does_not_change_a_patient(parameters, monkeypatch):
    alone = patients.draw_patients(4, 1, 64)
    monkeypatch.setattr(patients, "AT_ONCE", 2)
    made = nodes.draw_patients(parameters)
    assert list(made) == ["000000", "000002", "000004"]
    np.testing.assert_array_equal(made["000000"]()["images"][1], alone["images"][0])
    assert made["000004"]()["masks"].shape == (1, 64, 64)


def test_an_interrupted_pretraining_ends_in_the_same_weights(
    parameters, drawn, tmp_path, monkeypatch
):
    whole, history = pretraining.pretrain(drawn, parameters, Checkpoints(tmp_path / "whole"))
    assert [row["iteration"] for row in history] == [1, 2, 3, 4, 5, 6]

    checkpoints = Checkpoints(tmp_path / "cut")
    steps = iter(range(4))
    step = pretraining.SegmenterLearner.step

    def power_cut(self, pools):
        next(steps)
        return step(self, pools)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining.SegmenterLearner, "step", power_cut)
        with pytest.raises(StopIteration):
            pretraining.pretrain(drawn, parameters, checkpoints)
    resumed, again = pretraining.pretrain(drawn, parameters, checkpoints)
    assert again == history
    assert all(map(torch.equal, weights_of(whole), weights_of(resumed)))


def test_two_devices_pretrain_on_what_one_sees(parameters, tmp_path, quick_workers):
    drawings = [partial(patients.draw_patients, 3, 5, 64)]
    networks, histories = [], []
    for number, devices in enumerate([["cpu"], [["cpu", "cpu"]]]):
        shared = parameters.model_copy(update={"devices": devices})
        checkpoints = Checkpoints(tmp_path / str(number))
        network, history = pretraining.pretrain(drawings, shared, checkpoints)
        networks.append(network)
        histories.append([row["loss"] for row in history])
    assert histories[0] == pytest.approx(histories[1], rel=0.01)
    for one, two in zip(*map(weights_of, networks), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0.05)


def test_pretraining_must_end_within_its_cycle(parameters):
    values = parameters.model_dump()
    values["training"]["cycle"] = 5
    with pytest.raises(ValueError, match="cycle is 5, less than iterations, 6"):
        PretrainingParameters.model_validate(values)
