from functools import partial

import numpy as np
import pytest

from vesselrl.reward.scenes import SceneLoader
from vesselrl.reward.scoring import Scoring


class Judge:
    """In place of the reward network: one opinion, that nothing is vessel."""

    scoring = Scoring("min", 0)

    def opinions(self, image, candidate):
        return np.zeros((1, *candidate.shape), np.float32)


def test_a_scene_is_made_once_until_all_are_forgotten():
    asked = []

    def candidates():
        asked.append("a")
        return {"levels": np.zeros((2, 10, 10), np.uint8)}

    image, truth = np.zeros((10, 10), np.uint8), np.zeros((10, 10), bool)
    load = SceneLoader({"a": lambda: image}, {"a": lambda: truth}, {"a": candidates}, Judge())
    assert load("a") is load("a")
    assert asked == ["a"]
    load.forget()
    load("a")
    assert asked == ["a", "a"]


@pytest.mark.parametrize(("memory", "made"), [({}, "aab"), ({"kept_bytes": 10**6}, "ab")])
def test_only_the_last_scene_stays_unless_there_is_memory_for_more(memory, made):
    asked = []

    def candidates(name):
        asked.append(name)
        return {"levels": np.zeros((2, 10, 10), np.uint8)}

    images = dict.fromkeys("ab", lambda: np.zeros((10, 10), np.uint8))
    truths = dict.fromkeys("ab", lambda: np.zeros((10, 10), bool))
    answers = {name: partial(candidates, name) for name in "ab"}
    load = SceneLoader(images, truths, answers, Judge(), **memory)
    for name in "aabba":
        load(name)
    assert sorted(asked) == list(made)
