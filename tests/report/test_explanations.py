import pytest

from vesselrl.evaluation.parameters import NETWORKS
from vesselrl.report.explanations import explanation

REGRESSORS = {
    "plain": {"reward": "reward_network", "observations": "handmade"},
    "perfect": {"reward": "ground_truth", "observations": "reward_network"},
}


def test_a_regressor_is_explained_by_what_it_learned_from():
    plain = explanation("regressor", {"experiment": "plain"}, REGRESSORS)
    perfect = explanation("regressor", {"experiment": "perfect"}, REGRESSORS)
    assert plain.startswith("Ridge regression")
    assert "reward network's judgement" in plain
    assert "ground truth of the training images" in perfect


@pytest.mark.parametrize("kind", ["policy", "regressor"])
def test_it_is_told_where_a_policy_needs_the_reward_network_to_see(kind):
    settings = {"chooses": "setting", "episode_length": 1, "reward": "ground_truth"}
    by_hand, through = (
        explanation(kind, {"experiment": "x"}, {"x": settings | {"observations": observations}})
        for observations in ("handmade", "reward_network")
    )
    assert through.startswith(by_hand)
    assert "whose weights it needs wherever it is used" in through
    assert "weights" not in by_hand


@pytest.mark.parametrize("kind", ["policy", "imported"])
def test_of_finished_work_it_is_told_what_is_taken_on_trust(kind):
    assert "no test image had a part in it" in explanation(kind, {}, {}).replace(
        "its training", "it"
    )


@pytest.mark.parametrize("network", [n for trained in NETWORKS.values() for n in trained])
def test_every_network_is_explained_and_where_its_map_is_cut(network):
    chosen, given = (
        explanation("network", {"network": network, "threshold": threshold}, {})
        for threshold in (None, 0.4)
    )
    assert chosen.endswith("cut where the validation images score best.")
    assert given.endswith("cut at 0.4.")
    assert len(chosen) > 80
