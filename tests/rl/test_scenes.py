import numpy as np

from vesselrl.rl import scenes
from vesselrl.rl.scenes import SceneLoader


class Judge:
    """In place of the reward network: one opinion, that nothing is vessel."""

    def opinions(self, image, candidate):
        return np.zeros((1, *candidate.shape), np.float32)


def test_scenes_are_kept_while_they_fit_and_the_oldest_goes_first(monkeypatch):
    sides = {"small": 10, "large": 40, "other": 40}
    loaded = []

    def candidates_of(name, side):
        def load():
            loaded.append(name)
            return {"levels": np.zeros((2, side, side), np.uint8)}

        return load

    images = {n: lambda s=s: np.zeros((s, s), np.uint8) for n, s in sides.items()}
    truths = {n: lambda s=s: np.zeros((s, s), bool) for n, s in sides.items()}
    candidates = {name: candidates_of(name, side) for name, side in sides.items()}
    loader = SceneLoader(images, truths, candidates, Judge())
    large = loader("large").nbytes
    monkeypatch.setattr(scenes, "CACHE_BYTES", large + large // 2)
    loaded.clear()
    for name in ("small", "large", "small", "other", "small", "other", "large"):
        loader(name)
    assert loaded == ["small", "other", "large"]
