"""Predictions of many images, kept in a folder."""

import logging
import weakref
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vesselrl.distributed import spreading
from vesselrl.errors import VesselrlError
from vesselrl.prediction.folder import JOURNAL, PendingPredictions, PredictionFolder
from vesselrl.prediction.predictor import Prediction
from vesselrl.segmenters.levels import from_levels

NAMES = [f"i{number}" for number in range(6)]


def image_of(name):
    number = int(name[1:])
    return np.full((5, 7), 10 * number, np.uint8)


def predicted(image):
    level = np.float32(image[0, 0] / 100)
    probability = np.full(image.shape, level)
    return Prediction(
        mask=probability > 0.25, probability=probability, error=1 - probability, dice=float(level),
        recall=0.5, precision=0.25, dice_low=0.0, dice_high=1.0, out_of_distribution=float("nan"),
        prompt="all", threshold=0.25, operations="keep", segmenter_calls=1, seconds=0.123456789,
    )  # fmt: skip


class Asked:
    """Predicts, and notes of which images; it may fail on some."""

    def __init__(self, fails=()):
        self.images, self.fails = [], dict(fails)

    def __call__(self, image):
        name = NAMES[int(image[0, 0]) // 10]
        self.images.append(name)
        if name in self.fails:
            raise self.fails[name]
        return predicted(image)


def pending(predict, names=NAMES, key="k", maps=False, prepare=lambda: None):
    images = {name: (lambda n=name: image_of(n)) for name in names}
    keys = {name: f"{key} {name}" for name in names}
    return PendingPredictions(images, keys, predict, prepare, maps)


def content(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def made(tmp_path):
    PredictionFolder(tmp_path).make(pending(Asked(), maps=True))
    return tmp_path


def test_where_nothing_changed_no_file_is_written(made):
    before = {file: file.stat().st_mtime_ns for file in made.rglob("*")}
    PredictionFolder(made).make(pending(Asked(), maps=True))
    assert {file: file.stat().st_mtime_ns for file in made.rglob("*")} == before


def test_each_image_has_its_mask_its_error_map_and_its_scores(made):
    stored = PredictionFolder(made).load()
    assert list(stored) == NAMES
    for name, one in stored.items():
        expected = predicted(image_of(name))
        assert np.array_equal(one.mask(), expected.mask)
        assert np.abs(one.error_map() / 255 - expected.error).max() < 1 / 255
        with Image.open(made / "probabilities" / f"{name}.png") as levels:
            assert np.abs(from_levels(np.array(levels)) - expected.probability).max() < 1 / 500
        assert one.scores["dice"] == pytest.approx(expected.dice, abs=1e-6)
        assert one.scores["seconds"] == 0.123457
        assert one.scores["out_of_distribution"] is None
        assert one.scores["error"] == ""
    assert PredictionFolder(made).exists()


def test_work_that_broke_off_goes_on_and_ends_in_the_same(tmp_path, made):
    broken, folder = Asked({"i3": KeyboardInterrupt()}), tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        PredictionFolder(folder).make(pending(broken, maps=True))
    going_on = Asked()
    PredictionFolder(folder).make(pending(going_on, maps=True))
    assert going_on.images == ["i3", "i4", "i5"]
    before = {name: data for name, data in content(made).items() if "again" not in name}
    assert content(folder) == before


def test_nothing_is_predicted_twice(made):
    asked, before = Asked(), content(made)
    PredictionFolder(made).make(pending(asked, maps=True))
    assert asked.images == []
    assert content(made) == before


def test_another_recipe_or_image_is_predicted_anew(made):
    asked = Asked()
    changed = pending(asked)
    PredictionFolder(made).make(replace(changed, keys={**changed.keys, "i2": "other"}))
    assert asked.images == ["i2"]
    asked.images.clear()
    PredictionFolder(made).make(pending(asked, key="another recipe"))
    assert asked.images == NAMES


def test_what_is_gone_leaves_nothing_behind(made):
    PredictionFolder(made).make(pending(Asked(), NAMES[:2], maps=True))
    assert set(content(made)) == {JOURNAL} | {
        f"{kind}/{name}.png" for kind in ("masks", "errors", "probabilities") for name in NAMES[:2]
    }
    assert list(PredictionFolder(made).load()) == NAMES[:2]


def test_maps_that_are_not_wanted_are_removed_and_asked_for_when_they_are(made):
    asked = Asked()
    PredictionFolder(made).make(pending(asked))
    assert not list((made / "probabilities").iterdir())
    assert asked.images == []
    assert PredictionFolder(made).exists()
    PredictionFolder(made).make(pending(asked, maps=True))
    assert asked.images == NAMES


@pytest.mark.parametrize("kind", ["masks", "errors"])
def test_a_file_that_was_damaged_or_lost_is_made_again(made, kind):
    before = content(made)
    (made / kind / "i1.png").write_bytes(b"half")
    (made / kind / "i4.png").unlink()
    assert not PredictionFolder(made).exists()
    asked = Asked()
    PredictionFolder(made).make(pending(asked, maps=True))
    assert asked.images == ["i1", "i4"]
    assert {k: v for k, v in content(made).items() if k != JOURNAL} == {
        k: v for k, v in before.items() if k != JOURNAL
    }


def test_an_image_that_fails_stops_nothing_leaves_no_mask_and_is_tried_again(made):
    asked = Asked({"i2": RuntimeError("out of memory")})
    PredictionFolder(made).make(pending(asked, key="anew"))
    stored = PredictionFolder(made).load()
    assert stored["i2"].scores == {"error": "RuntimeError: out of memory"}
    assert not (made / "masks/i2.png").exists()
    assert all(not one.scores["error"] for name, one in stored.items() if name != "i2")
    assert PredictionFolder(made).exists()
    later = Asked()
    PredictionFolder(made).make(pending(later, key="anew"))
    assert later.images == ["i2"]


def test_where_every_image_fails_the_run_stops_with_the_reason(tmp_path):
    asked = Asked(dict.fromkeys(NAMES, RuntimeError("no weights")))
    with pytest.raises(VesselrlError, match="None of the 6 images.*no weights"):
        PredictionFolder(tmp_path).make(pending(asked))


@pytest.mark.parametrize("batches", [{}, {f"i{number}": "i0" for number in range(25)}])
def test_few_images_are_in_memory_at_a_time(tmp_path, batches):
    alive, few, many = [], 8, [f"i{number}" for number in range(25)]

    def predict(image):
        assert sum(reference() is not None for reference in alive) <= few
        made = predicted(image)
        alive.append(
            weakref.ref(made.probability.base if made.probability.base is not None else made.mask)
        )
        return made

    PredictionFolder(tmp_path).make(replace(pending(predict, names=many), batches=batches))
    assert len(alive) == len(many)


def test_a_worker_has_one_image_of_a_batch_in_memory_at_a_time(tmp_path, monkeypatch):
    def in_this_process(function, items, devices):
        ((name, batch),) = items
        assert len(batch) == len(NAMES)
        yield function((name, batch))

    alive = []

    def predict(image):
        assert all(reference() is None for reference in alive)
        made = predicted(image)
        alive.append(weakref.ref(made.probability))
        return made

    monkeypatch.setattr(spreading, "map_on_devices", in_this_process)
    asked = replace(pending(predict), batches=dict.fromkeys(NAMES, "i0"), devices=["cpu"])
    PredictionFolder(tmp_path).make(asked)
    assert len(alive) == len(NAMES)


def test_what_a_failed_prediction_had_in_memory_is_gone_before_the_next(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "vesselrl")  # pytest keeps tracebacks that are logged
    held = []

    def predict(image):
        assert all(reference() is None for reference in held)
        if image[0, 0] == 50:
            return predicted(image)
        activations = np.zeros(9)  # on a GPU the next image would find no room beside them
        held.append(weakref.ref(activations))
        raise ValueError("out of memory")

    PredictionFolder(tmp_path).make(pending(predict))
    assert len(held) == len(NAMES) - 1
    errors = [one.scores["error"] for one in PredictionFolder(tmp_path).load().values()]
    assert errors == ["ValueError: out of memory"] * 5 + [""]


def test_frames_of_a_batch_are_noted_as_they_are_made(tmp_path):
    asked = replace(pending(Asked({"i3": KeyboardInterrupt()})), batches=dict.fromkeys(NAMES, "i0"))
    with pytest.raises(KeyboardInterrupt):
        PredictionFolder(tmp_path).make(asked)
    assert list(PredictionFolder(tmp_path).load()) == NAMES[:3]


def test_what_cannot_be_loaded_stops_the_run_before_the_first_image_if_there_is_one(made):
    def prepare():
        raise VesselrlError("There are no weights.")

    asked = Asked()
    PredictionFolder(made).make(pending(asked, maps=True, prepare=prepare))
    with pytest.raises(VesselrlError, match="no weights"):
        PredictionFolder(made).make(pending(asked, key="anew", maps=True, prepare=prepare))
    assert asked.images == []


class Voting:
    """Predicts series of which each image is voted on by its neighbours; some may fail."""

    def __init__(self, fails=()):
        self.images, self.fails = [], fails

    def __call__(self, name):
        self.images.append(name)
        if name in self.fails:
            raise RuntimeError("broken")
        place = NAMES.index(name)
        around = NAMES[max(0, place - 1) : place + 2]
        absent = tuple(voter for voter in around if voter in self.fails)
        return replace(predicted(image_of(name)), absent=absent)


def series(predict, **changes):
    images = {name: (lambda n=name: n) for name in NAMES}
    batches = {name: NAMES[number // 4 * 4] for number, name in enumerate(NAMES)}
    return replace(pending(predict), images=images, batches=batches, **changes)


def test_a_frame_is_voted_on_anew_when_a_neighbour_that_failed_does_so_no_more(tmp_path):
    folder = PredictionFolder(tmp_path)
    folder.make(series(Voting(["i2"])))
    again = Voting(["i2"])
    folder.make(series(again))
    assert again.images == ["i2"]  # alone: it still has no vote
    mended = Voting()
    folder.make(series(mended))
    assert mended.images == ["i2", "i1", "i3"]
    done = Voting()
    folder.make(series(done))
    assert done.images == []
    assert all(not one.scores["error"] for one in folder.load().values())


def test_a_vote_that_was_missed_within_a_run_is_repeated_once(tmp_path):
    class Flickering(Voting):
        """A neighbour's failure is over when it is that frame's own turn."""

        def __call__(self, name):
            made = super().__call__(name)
            return replace(made, absent=("i2",) if name in ("i1", "i3") else ())

    asked = Flickering()
    PredictionFolder(tmp_path).make(series(asked))
    assert asked.images == [*NAMES, "i1", "i3"]


def test_a_batch_is_predicted_by_one_process(tmp_path, monkeypatch):
    dealt = []

    def noting(function, items, devices, ray):
        dealt.extend([sample for sample, _ in batch] for _, batch in items)
        yield from map(function, items)

    monkeypatch.setattr("vesselrl.prediction.folder.map_on_workers", noting)
    each = [[name] for name in NAMES]
    PredictionFolder(tmp_path / "a").make(series(Voting(), devices=["cpu"]))
    PredictionFolder(tmp_path / "b").make(replace(pending(Asked()), devices=["cpu"]))
    assert dealt == [NAMES[:4], NAMES[4:], *each]
    dealt.clear()
    PredictionFolder(tmp_path / "c").make(series(Voting()))  # in this one, whatever the batches
    assert dealt == each
