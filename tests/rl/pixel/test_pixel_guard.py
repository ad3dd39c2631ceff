from functools import partial

import numpy as np
import pytest

from vesselrl.metrics.masks import overlap_scores
from vesselrl.reward.examples import reward_examples
from vesselrl.reward.parameters import ExampleParameters
from vesselrl.rl.pixel import guard as guard_module
from vesselrl.rl.pixel.card import reward_card
from vesselrl.rl.pixel.guard import Guard
from vesselrl.rl.pixel.refine import refined_map
from vesselrl.segmenters.levels import from_levels, to_levels

OBJECTIVE = ["dice", "recall"]


class Knows:
    """Judges of whom the fold ensemble is right and the reward network wrong."""

    def __init__(self, world):
        self._truths = {image.tobytes(): truth for image, truth in zip(*world[:2], strict=True)}

    def on_unseen(self, image, source):
        truth = self._truths[image.tobytes()].astype(np.float32)
        assert source == "both"
        return {"network": 1 - truth[None], "ensemble": truth[None]}


@pytest.fixture(scope="module")
def examples(world):
    rng = np.random.default_rng(0)
    soft = [0.8 * truth + 0.2 * rng.random(truth.shape) for truth in world.truths]
    return [
        partial(
            reward_examples,
            image,
            truth,
            to_levels(np.stack([map_, map_ * rng.random(map_.shape)])),
            ExampleParameters(max_side=64, corruptions=0),
            rng,
        )
        for image, truth, map_ in zip(world.images, world.truths, soft, strict=True)
    ]


def test_the_card_tells_who_knows_the_masks_and_who_does_not(world, examples):
    card = reward_card(Knows(world), examples[6:9], OBJECTIVE)
    assert card["ensemble"]["within_image_tau"] > 0.99
    assert card["ensemble"]["mae"] == pytest.approx(0, abs=1e-6)
    assert card["network"]["within_image_tau"] < 0.3
    assert {of_source["n_images"] for of_source in card.values()} == {3}


def test_without_validation_images_the_card_is_empty(world):
    empty = {"n_images": 0}
    assert reward_card(Knows(world), [], OBJECTIVE) == dict.fromkeys(
        ("network", "ensemble", "both"), empty
    )


def test_a_look_gives_the_true_mean_scores_of_the_masks(world, make_guard):
    row = make_guard(predict=np.zeros_like).look(world.start)
    scores = [
        overlap_scores((world.start.probability(world.images[n]) > 0.5)[None], world.truths[n])
        for n in range(6, 10)
    ]
    dice, recall = (np.mean([score[name] for score in scores]) for name in OBJECTIVE)
    assert row["val_dice"] == pytest.approx(dice, abs=1e-6)
    assert row["val_gold"] == pytest.approx((dice + recall) / 2, abs=1e-6)
    assert row["val_proxy"] == row["proxy"] == 0


def test_of_many_unlabelled_images_an_even_choice_is_looked_at(world, monkeypatch):
    monkeypatch.setattr(guard_module, "FEW", 4)
    seen = []

    def view(number):
        seen.append(number)
        return world.images[number], world.truths[number][None].astype(np.float32)

    Guard([], [partial(view, number) for number in range(9)], OBJECTIVE).look(world.start)
    assert seen == [0, 3, 6]


def test_a_refined_map_is_the_mean_of_what_folds_and_reward_network_see(world):
    class Says:
        def own_map(self, image, candidate):
            return np.ones_like(candidate)

    image = world.images[0]
    refined = refined_map(Says(), [world.start], image)
    expected = (world.start.probability(image) + 1) / 2
    np.testing.assert_allclose(from_levels(refined["levels"]), expected, atol=1 / 256)
    assert refined["seconds"] > 0
