"""Frames of series: their order, their names, and what they choose together."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from finished_world import World
from hypothesis import given
from hypothesis import strategies as st

from vesselrl.errors import VesselrlError
from vesselrl.evaluation.methods import Decision
from vesselrl.prediction.predictor import Predictor
from vesselrl.prediction.recipe import write_recipe
from vesselrl.prediction.series import Frame, SeriesPredictor, arranged, neighbours, vote
from vesselrl.segmenters.base import PromptsFailed, build_segmenter


def test_files_of_several_frames_are_series_and_others_stand_alone():
    assert arranged({"b.png": 1, "run.dcm": 3, "sub/c.png": 1}, folders=False) == [
        Frame("b", "b.png", None, None),
        Frame("run_0001", "run.dcm", 1, "run"),
        Frame("run_0002", "run.dcm", 2, "run"),
        Frame("run_0003", "run.dcm", 3, "run"),
        Frame("c", "sub/c.png", None, None),
    ]


def test_a_folder_is_a_series_in_the_order_of_its_numbers():
    files = {"p1/f10.png": 1, "p1/f9.png": 1, "p1/f100.png": 1, "p2/x.mp4": 2, "alone.png": 1}
    frames = arranged(files, folders=True)
    assert [(f.id, f.file) for f in frames if f.series == "p1"] == [
        ("p1_0001", "p1/f9.png"),
        ("p1_0002", "p1/f10.png"),
        ("p1_0003", "p1/f100.png"),
    ]
    assert [f.id for f in frames if f.series != "p1"] == ["alone", "x_0001", "x_0002"]


def test_names_of_frames_stand_in_their_order_however_many_there_are():
    ids = [frame.id for frame in arranged({"long.mp4": 12_000}, folders=False)]
    assert ids == sorted(ids)


names = st.text(st.sampled_from("a1/._x٣"), min_size=1, max_size=5).filter(
    lambda name: all(part.strip(".") for part in name.split("/"))
)


@given(st.dictionaries(names, st.integers(1, 3), min_size=1, max_size=6), st.booleans())
def test_every_frame_has_an_id_of_its_own(frames_in, folders):
    frames = arranged({f"{name}.png": count for name, count in frames_in.items()}, folders)
    assert len(frames) == sum(frames_in.values())
    assert len({frame.id for frame in frames}) == len(frames)
    assert not any("/" in frame.id for frame in frames)


def test_two_frames_of_one_name_are_told_apart_by_nobody():
    with pytest.raises(VesselrlError, match=r"run\.dcm.*run_0001\.png.*rename"):
        arranged({"run.dcm": 2, "run_0001.png": 1}, folders=False)


def test_only_frames_of_the_same_series_are_neighbours():
    frames = arranged({"a.png": 1, "b.dcm": 4, "c.dcm": 2}, folders=False)
    found = [list(neighbours(frames, place, 3)) for place in range(len(frames))]
    assert found == [[0], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4], [5, 6], [5, 6]]
    assert list(neighbours(frames, 2, 1)) == [2]


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
    frames = [Frame(name, "run.dcm", n, "run") for n, name in enumerate(images, 1)]
    series = SeriesPredictor(predictor, window)
    made = {}
    for place, frame in enumerate(frames):
        around = [frames[other].id for other in neighbours(frames, place, window)]
        made[frame.id] = series.predict({name: images[name] for name in around}, frame.id)
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
        expected = predictor.predict(images[name](), type(own)(own.answers, decision))
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
    series = SeriesPredictor(Predictor(recipe, segmenter), 3)
    names = list(world.drawn)[:3]
    images = {name: lambda image=world.drawn[name][0]: image for name in names}
    segmenter.fails_on = images[names[1]]().tobytes()
    assert series.predict(images, names[0]).mask.shape == (64, 64)
    with pytest.raises(PromptsFailed):
        series.predict(images, names[1])
