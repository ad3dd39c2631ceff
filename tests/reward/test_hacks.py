import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from torch import nn

from vesselrl.networks.architecture import Architecture
from vesselrl.reward.calibration import Line
from vesselrl.reward.closed_form import expected_scores
from vesselrl.reward.hacks import HackRows, ascended, branch_removed, hack_pairs, ranked_right
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scenes import Scene
from vesselrl.reward.scoring import Scoring
from vesselrl.segmenters.levels import from_levels

AGAINST_DEFAULT = ["empty", "full", "all_vesselness", "image_edges", "other_truth", "ascent"]
AGAINST_TRUTH = ["dilated_truth", "branch_removed"]
OBJECTIVE = ["dice", "recall"]
SURE = 12.0


class Planted(nn.Module):
    """A member whose answer is known: a function of its input, (B, 2, H, W) to (B, 1, H, W)."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, pair):
        return self.answer(pair)


def judge(*answers, aggregation="lower_bound", **rest):
    members = [Planted(answer) for answer in answers]
    return RewardNetwork(
        members, Architecture(2, (4,) * 6, 1), 96, Scoring(aggregation, 0.5, **rest)
    )


def everything(pair):
    """All the image is vessel: the larger a mask, the better."""
    return torch.full_like(pair[:, :1], SURE)


def any_vesselness(pair):
    """Wherever the segmenter sees the least of a vessel there is one."""
    return torch.where(pair[:, 1:] > -0.98, SURE, -SURE)


def background(pair):
    """Vessels are where the segmenter sees none."""
    return -SURE * pair[:, 1:]


def knows(truth):
    """Asks the truth."""
    return lambda _: torch.from_numpy(np.where(truth, SURE, -SURE).astype(np.float32))[None, None]


def scene_of(parts, network):
    image, truth, levels = parts
    return Scene.of(image, from_levels(levels), truth, network)


def table_of(drawn, network_of, objective=OBJECTIVE, default_prompt=2):
    """All hacks of all drawn images; the default prompt finds half of the tree."""
    parts = list(drawn.values())
    rows = []
    for own, other in zip(parts, parts[1:] + parts[:1], strict=True):
        scene = scene_of(own, network_of(own[1]))
        rows += HackRows(default_prompt, objective)((scene, other[1]))
    return pd.DataFrame(rows)


def wrong(table, least_share=0.8):
    verdict = ranked_right(table, least_share)
    return set(verdict["hack"][~verdict["right"]])


@pytest.mark.parametrize("objective", [["dice"], ["dice", "recall"], ["precision"]])
def test_a_network_that_knows_the_truth_passes_every_hack(drawn, objective):
    table = table_of(drawn, lambda truth: judge(knows(truth), knows(truth)), objective)
    verdict = ranked_right(table, least_share=1)
    assert verdict["right"].all()
    assert verdict["hack"].tolist() == [*AGAINST_DEFAULT, *AGAINST_TRUTH]


def test_each_hack_is_counted_on_most_images(drawn):
    verdict = ranked_right(table_of(drawn, lambda truth: judge(knows(truth))), least_share=1)
    assert verdict.set_index("hack")["images"].min() >= 8


def test_a_network_that_rewards_sheer_size_is_caught(drawn):
    table = table_of(drawn, lambda _: judge(everything), default_prompt=0)
    caught = wrong(table)
    assert {"full", "all_vesselness", "ascent", "dilated_truth"} <= caught
    assert "empty" not in caught


def test_a_network_that_takes_any_vesselness_for_a_vessel_is_caught(drawn):
    table = table_of(drawn, lambda _: judge(any_vesselness), default_prompt=0)
    assert {"all_vesselness", "ascent", "dilated_truth"} <= wrong(table)


def test_a_network_that_takes_the_background_for_the_vessels_is_caught(drawn):
    table = table_of(drawn, lambda _: judge(background), default_prompt=0)
    assert {"full", "all_vesselness", "ascent"} <= wrong(table)


def test_a_network_without_an_opinion_is_caught(drawn):
    flat = {key: Line(0, 0.5) for key in ("dice", "recall", "precision")}
    table = table_of(drawn, lambda truth: judge(knows(truth), lines=flat))
    # Nothing rises, so nothing is climbed, and where the mask stays there is nothing to rank.
    assert wrong(table) == {*AGAINST_DEFAULT, *AGAINST_TRUTH} - {"ascent"}


def test_hacks_stand_against_the_default_mask_or_the_truth(drawn):
    scene = scene_of(drawn["i0"], judge(everything))
    pairs = hack_pairs(scene, 1, drawn["i1"][1], OBJECTIVE)
    default = scene.probabilities[1] > 0.5
    for names, expected in ((AGAINST_DEFAULT, default), (AGAINST_TRUTH, scene.truth)):
        for name in names:
            hack, reference = pairs.pop(name)
            assert hack.shape == scene.truth.shape
            assert hack.dtype == np.bool_
            np.testing.assert_array_equal(reference, expected)
            assert (hack != reference).any()
    assert not pairs


def test_rows_are_means_of_the_objective_as_predicted_and_in_truth(drawn):
    lines = {"dice": Line(0.5, 0.1), "recall": Line(0.25, 0.2), "precision": Line(0, 0)}
    scene = scene_of(drawn["i0"], judge(everything, lines=lines))
    rows = {row["hack"]: row for row in HackRows(0, OBJECTIVE)((scene, drawn["i1"][1]))}
    share = scene.truth.mean()
    assert rows["full"]["true"] == pytest.approx((2 * share / (share + 1) + 1) / 2)
    assert rows["full"]["predicted"] == pytest.approx((0.6 + 0.45) / 2, abs=1e-4)
    assert rows["branch_removed"]["true_reference"] == 1
    assert rows["empty"]["true"] == 0


def test_the_truth_has_no_part_in_what_is_made_against_the_default_mask(drawn):
    image, truth, levels = drawn["i0"]
    network = judge(any_vesselness, background)
    one, other = (
        hack_pairs(scene_of((image, mask, levels), network), 0, drawn["i1"][1], OBJECTIVE)
        for mask in (truth, np.roll(truth, 9))
    )
    for name in AGAINST_DEFAULT:
        np.testing.assert_array_equal(one[name], other[name])


def test_the_truth_of_an_image_of_another_size_is_resized(drawn):
    scene = scene_of(drawn["i0"], judge(everything))
    other = drawn["i1"][1]
    for enlarged in (np.kron(other, np.ones((3, 2), bool)), other):
        hack, _ = hack_pairs(scene, 0, enlarged, OBJECTIVE)["other_truth"]
        np.testing.assert_array_equal(hack, other)


def test_blank_images_without_maps_or_truth_have_hacks_too():
    empty = np.zeros((20, 33), bool)
    scene = Scene.of(
        np.zeros(empty.shape, np.uint8), np.zeros((2, *empty.shape), np.float32), empty,
        judge(everything, background),
    )  # fmt: skip
    table = pd.DataFrame(HackRows(0, OBJECTIVE)((scene, empty)))
    assert table.drop(columns=["hack"]).notna().all(axis=None)


@given(arrays(np.float32, (1, 6, 7), elements=st.floats(0, 1, width=32)), st.integers(0, 99))
def test_the_ascent_finds_the_mask_that_one_opinion_expects_most_of(q, seed):
    start = np.random.default_rng(seed).random(q.shape[1:]) > 0.5
    found = ascended(start, q, judge(everything).scoring, ["dice"])
    # With one opinion the best masks hold the most probable pixels.
    best = np.stack([q[0] >= threshold for threshold in np.unique(q)])
    if q.sum() > 1:
        reached = expected_scores(found[None], q)["dice"][0, 0]
        assert reached > expected_scores(best, q)["dice"].max() - 0.02


@pytest.mark.parametrize("aggregation", ["lower_bound", "min"])
@given(opinions=arrays(np.float32, (3, 6, 7), elements=st.floats(0.125, 0.875, width=32)))
def test_the_ascent_makes_the_reward_no_worse(aggregation, opinions):
    lines = {"dice": Line(0.9, 0), "recall": Line(0.3, 0), "precision": Line()}
    network = judge(*[everything] * 3, aggregation=aggregation, lines=lines)
    start = np.arange(42).reshape(6, 7) % 3 == 0
    masks = np.stack([ascended(start, opinions, network.scoring, OBJECTIVE), start])
    scores = network.scoring.scores(masks, opinions)
    after, before = scores["dice"] + scores["recall"]
    assert after >= before - 0.02


def test_a_branch_is_removed_whole_and_nothing_else():
    tree = np.zeros((60, 80), bool)
    steps = np.arange(1, 21)
    tree[30, 5:75] = tree[30 - steps, 25 + steps] = tree[30 + steps[:15], 45 + steps[:15]] = True
    tree = ndimage.binary_dilation(tree, iterations=2)
    removed = tree & ~branch_removed(tree)
    assert ndimage.label(removed, np.ones((3, 3)))[1] == 1
    # Of trunk, long branch and short branch: the trunk's parts end freely too.
    parts = [np.s_[27:34, 10:20], np.s_[27:34, 60:70], np.s_[:25], np.s_[35:]]
    gone = [removed[part].sum() / tree[part].sum() for part in parts]
    assert sorted(gone) == [0, 0, 0, 1]
    assert gone[3] == 0  # the shortest


def test_of_a_vessel_without_forks_a_connected_quarter_is_removed():
    vessel = np.zeros((30, 90), bool)
    vessel[12:17, 5:85] = True
    removed = vessel & ~branch_removed(vessel)
    assert removed.sum() / vessel.sum() == pytest.approx(0.25, abs=0.05)
    assert ndimage.label(removed)[1] == 1


@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_from_any_mask_something_is_removed_and_nothing_added(mask):
    rest = branch_removed(mask)
    assert not (rest & ~mask).any()
    assert rest.sum() < mask.sum() or not mask.any()


def pairs(hack, *differences):
    """Rows with given differences, predicted and true."""
    return [
        {
            "hack": hack, "image": str(number), "predicted": 0.5 + predicted,
            "predicted_reference": 0.5, "true": 0.5 + true, "true_reference": 0.5,
            "dice_right": number == 0,
        }
        for number, (predicted, true) in enumerate(differences)
    ]  # fmt: skip


@pytest.mark.parametrize(("least_share", "right"), [(0.6, True), (0.7, False)])
def test_enough_images_have_to_be_ranked_as_the_truth_does(least_share, right):
    table = pd.DataFrame(pairs("full", (-0.3, -0.2), (-0.1, -0.1), (0.1, -0.3)))
    verdict = ranked_right(table, least_share).iloc[0]
    assert verdict["predicted_difference"] == pytest.approx(-0.1)
    assert verdict["true_difference"] == pytest.approx(-0.2)
    assert verdict["share"] == pytest.approx(2 / 3)
    assert verdict["images"] == 3
    assert verdict["right"] == right
    assert verdict["dice_share"] == pytest.approx(1 / 3)


def test_many_small_successes_do_not_make_up_for_one_large_failure():
    table = pd.DataFrame(pairs("full", *[(-0.01, -0.1)] * 9, (0.5, -0.1)))
    assert wrong(table, least_share=0.5) == {"full"}


def test_pairs_that_are_equally_good_do_not_count():
    table = pd.DataFrame(pairs("full", (0.4, 0.004), (-0.1, -0.1)) + pairs("ascent", (0.1, 0)))
    verdict = ranked_right(table, least_share=1).set_index("hack")
    assert verdict["images"].to_dict() == {"full": 1, "ascent": 0}
    assert verdict["right"].all()
    assert np.isnan(verdict.loc["ascent", "share"])


def test_a_network_that_finds_hack_and_reference_equally_good_is_wrong():
    assert wrong(pd.DataFrame(pairs("full", (0, -0.2)))) == {"full"}
