import numpy as np

from vesselrl.reward.scenes import SceneLoader


class Judge:
    """In place of the reward network: one opinion, that nothing is vessel."""

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
