"""Gold, the truth of validation images, guards a run that is paid by the reward network."""

import numpy as np
import pandas as pd
import pytest
from drawn_world import DrawnScene, draw_scene, drawn_outcomes, rl_parameters
from scipy import ndimage

from vesselrl.report.background import training
from vesselrl.report.document import Callout, Table
from vesselrl.rl.looks import kept, over_optimisation, reason_to_end
from vesselrl.rl.training import train_policy


def history(gold, proxy=None):
    """Looks after every second update."""
    rows = []
    for look, (true, predicted) in enumerate(zip(gold, proxy or gold, strict=True), 1):
        rows += [{"steps": 2 * look - 1}]
        rows += [{"steps": 2 * look, "val_gold": true, "val_proxy": predicted}]
    return rows


def test_of_equally_good_policies_the_one_that_has_learned_longer_is_kept():
    assert kept(history([0.5, 0.7, 0.6, 0.7, 0.6]))["steps"] == 8
    assert kept([{"steps": 1}]) is None


@pytest.mark.parametrize(
    ("gold", "exhausted"),
    [
        ([], False),
        ([0.5, 0.4], False),
        ([0.5, 0.4, 0.4], True),
        ([0.5, 0.4, 0.6, 0.4], False),
        ([0.5, 0.6, 0.6, 0.6], True),  # no worse is not better
    ],
)
def test_training_ends_after_looks_without_a_better_score(gold, exhausted):
    ended = reason_to_end(history(gold), steps=9, planned=10, patience=2)
    assert ended == ("no better validation score for 2 looks" if exhausted else "")


@pytest.mark.parametrize(
    ("gold", "proxy", "hacked"),
    [
        ([0.70, 0.75, 0.72], [0.7, 0.8, 0.81], True),
        ([0.70, 0.75, 0.72], [0.7, 0.8, 0.79], False),  # the proxy saw the loss
        ([0.70, 0.75, 0.745], [0.7, 0.8, 0.9], False),  # too little is lost
        ([0.70, 0.72, 0.75], [0.9, 0.8, 0.7], False),
    ],
)
def test_a_proxy_that_rises_while_gold_falls_is_over_optimised(gold, proxy, hacked):
    found = over_optimisation(history(gold, proxy), "reward_network")
    assert found["overoptimised"] is hacked
    assert (found["gold_best"], found["gold_last"]) == (max(gold), gold[-1])
    assert found["proxy_at_best"] == proxy[gold.index(max(gold))]
    assert found["proxy_last"] == proxy[-1]
    assert over_optimisation(history(gold, proxy), "ground_truth")["overoptimised"] is False


def test_without_validation_images_nothing_is_said_of_over_optimisation():
    assert set(over_optimisation([{"steps": 1}], "reward_network").values()) == {None}


class Flattered(DrawnScene):
    """Its judge forgives what lies near the vessel, and likes large masks: dilate, and it pays."""

    def predicted_scores(self, masks):
        near, size = ndimage.binary_dilation(self.truth, iterations=2), self.truth.sum()
        recall = np.array([(mask & self.truth).sum() / size for mask in masks])
        precision = np.array([(mask & near).sum() / max(mask.sum(), 1) for mask in masks])
        area = np.array([min(mask.sum() / size, 2) for mask in masks])
        return dict.fromkeys(("dice", "recall", "precision"), 0.8 * recall * precision + 0.1 * area)


def draw_flattered(sample):
    scene = draw_scene(sample)
    return Flattered(scene.image, scene.probabilities, scene.truth)


@pytest.fixture(scope="module")
def hacked(tmp_path_factory):
    return train_policy(
        "tried",
        drawn_outcomes("setting", 1, ("i0", "i1", "i2", "i3"), draw_flattered),
        drawn_outcomes("setting", 1, ("i4", "i5"), draw_flattered),
        "reward_network",
        rl_parameters({"total_timesteps": 3000}, patience=3),
        seed=8,
        folder=tmp_path_factory.mktemp("hacked"),
        fingerprint="",
    )


def test_a_hacked_reward_ends_early_with_the_policy_from_before(hacked):
    assert hacked.result["overoptimised"]
    assert hacked.result["ended"] == "no better validation score for 3 looks"
    assert hacked.result["steps"] < 3000
    assert hacked.result["gold_last"] < 0.8 < hacked.result["val_dice"] == 1.0
    assert hacked.result["proxy_last"] > hacked.result["proxy_at_best"]
    states = [
        hacked.policy.decide(
            drawn_outcomes("setting", 1).image_features(sample), lambda state: None
        )[-1]
        for sample in ("i4", "i5")
    ]
    operations = {hacked.policy.rules.describe(state)["operations"] for state in states}
    assert operations == {"keep"}


def test_the_report_names_a_hacked_reward(hacked):
    curves = pd.DataFrame(hacked.history).assign(experiment="reward_rl", seed=8)
    section = training(curves, {"reward_rl": {8: hacked.result}}, b"PNG")
    (note,) = [block for block in section.blocks if isinstance(block, Callout)]
    steps = hacked.result["kept_step"]
    assert "reward_rl, seed 8: the policy learned to please the reward network" in note.text
    assert f"from step {steps} to the end of training, the proxy rose from 0.900 to" in note.text
    assert f"gold fell from 1.000 to {hacked.result['gold_last']:.3f}" in note.text
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert "reward_rl, seed 8: no better validation score for 3 looks" in table.note
