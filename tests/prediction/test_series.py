"""Frames of series choose together."""

import pickle
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finished_world import World
from vesselrl.evaluation.methods import Decision
from vesselrl.prediction.frames import windows
from vesselrl.prediction.predictor import Predictor
from vesselrl.prediction.recipe import write_recipe
from vesselrl.prediction.series import Ballot, SeriesPredictor, vote
from vesselrl.segmenters.base import PromptsFailed, build_segmenter


def settings(*choices):
    return [Decision("setting", (choice,), 1) for choice in choices]


@pytest.mark.parametrize(
    ("choices", "own", "winner"),
    [
        ([(0, 0, 0), (1, 1, 1), (0, 0, 0)], 1, (0, 0, 0)),
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], 1, (1, 1, 1)),  # a tie: its own
        ([(0, 0, 0), (0, 0, 0), (1, 1, 1), (2, 2, 2), (2, 2, 2)], 2, (0, 0, 0)),
        ([(0, 1, 2), (0, 1, 1), (0, 2, 1), (3, 2, 1), (3, 2, 1)], 4, (0, 1, 1)),
    ],
)
def test_the_majority_wins_part_by_part(choices, own, winner):
    assert vote(settings(*choices), own).state == (winner,)


STATES = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=7)


@given(STATES, st.data())
def test_what_wins_was_chosen_by_a_frame_and_its_prompt_by_most(choices, data):
    own = data.draw(st.integers(0, len(choices) - 1))
    ((winner,),) = (vote(settings(*choices), own).state,)
    assert winner in choices
    prompts = Counter(choice[0] for choice in choices)
    assert prompts[winner[0]] == max(prompts.values())


def test_sequences_of_operations_are_voted_on_as_a_whole():
    states = [((1,), (2,)), ((2,),), ((1,), (2,))]
    decisions = [Decision("operations", state, 1) for state in states]
    assert vote(decisions, 1).state == states[0]


class Counting:
    """A segmenter that counts what it is asked, and fails on images of one brightness."""

    def __init__(self, parameters):
        self._inner = build_segmenter(parameters)
        self.asked = Counter()
        self.fails_on = None

    def probabilities(self, image, prompts):
        self.asked.update((image.tobytes(), prompt) for prompt in prompts)
        if image.tobytes() == self.fails_on:
            raise PromptsFailed(np.zeros((1, 2, 2), np.float32), {prompts[0]: ValueError("broken")})
        return self._inner.probabilities(image, prompts)


CHOOSING = ["best_of_one", "best_of_n", "prompt_rl", "postprocess_rl", "regressor"]


def predicted(world, method, window):
    """Six images as one series, in order: predictors, images, predictions."""
    segmenter = Counting(world.segmenter)
    predictor = Predictor(write_recipe(method, World.evaluation.methods, world.stock), segmenter)
    images = {name: lambda image=image: image for name, (image, _) in [*world.drawn.items()][:6]}
    series = SeriesPredictor(predictor, window)
    made = {
        name: series.predict(Ballot(name, {voter: images[voter] for voter in voters}))
        for name, voters in windows(list(images), window).items()
    }
    return predictor, segmenter, images, made


@pytest.mark.parametrize("method", CHOOSING)
def test_a_frame_gets_the_mask_of_what_its_neighbours_choose(world, method):
    predictor, segmenter, images, made = predicted(world, method, 5)
    assert set(segmenter.asked.values()) == {1}  # no prompt is asked twice about a frame
    names = list(images)
    chosen = [predictor.choose(images[name]()).decision for name in names]
    for place, name in enumerate(names):
        window = range(max(0, place - 2), min(len(names), place + 3))
        decision = vote([chosen[other] for other in window], window.index(place))
        own = predictor.choose(images[name]())
        expected = predictor.predict(images[name](), replace(own, decision=decision))
        assert np.array_equal(made[name].mask, expected.mask)
        assert made[name].dice == expected.dice
        assert made[name].operations == expected.operations


def test_choices_change_less_often_along_a_series(world):
    def changes(window):
        *_, made = predicted(world, "best_of_n", window)
        words = [(m.prompt, m.threshold, m.operations) for m in made.values()]
        return sum(a != b for a, b in pairwise(words))

    assert changes(5) < changes(1)


@pytest.mark.parametrize("method", ["static", "posterior", "supervised"])
def test_where_nothing_is_chosen_frames_are_images(world, method):
    predictor, _, images, made = predicted(world, method, 5)
    for name, load in images.items():
        assert np.array_equal(made[name].mask, predictor.predict(load()).mask)


def test_a_frame_that_fails_has_no_vote_and_fails_alone(world):
    segmenter = Counting(world.segmenter)
    recipe = write_recipe("best_of_n", World.evaluation.methods, world.stock)
    series = SeriesPredictor(Predictor(recipe, segmenter), 5)
    names = list(world.drawn)[:5]
    images = {name: lambda image=world.drawn[name][0]: image for name in names}
    broken = images[names[2]]().tobytes()
    segmenter.fails_on = broken
    for own in names[:2]:
        made = series.predict(Ballot(own, images))
        assert made.mask.shape == (64, 64)
        assert made.absent == (names[2],)
    asked = sum(n for (image, _), n in segmenter.asked.items() if image == broken)
    assert asked == 3  # its three prompts, by the first frame alone
    with pytest.raises(PromptsFailed):
        series.predict(Ballot(names[2], images))
    segmenter.fails_on = None
    assert series.predict(Ballot(names[2], images)).absent == ()
    assert series.predict(Ballot(names[3], images)).absent == ()


def test_an_image_alone_is_loaded_beforehand_and_frames_as_they_are_looked_at():
    loaded = []
    images = {name: (lambda name=name: loaded.append(name) or name) for name in "ab"}
    alone = Ballot("a", {"a": images["a"]})()
    assert loaded == ["a"]
    assert (alone.around["a"](), alone.around["a"]()) == ("a", "a")
    assert Ballot("b", images)() == Ballot("b", images)
    assert loaded == ["a"]


def test_in_another_process_frames_choose_the_same(world):
    _, _, images, made = predicted(world, "regressor", 3)
    recipe = write_recipe("regressor", World.evaluation.methods, world.stock)
    copy = pickle.loads(pickle.dumps(SeriesPredictor(Predictor(recipe), 3)))
    names = list(images)
    alone = copy.predict(Ballot(names[2], {name: images[name] for name in names[1:4]}))
    assert np.array_equal(alone.mask, made[names[2]].mask)
