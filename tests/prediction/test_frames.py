"""Series in a folder of images: their frames, the order of these, and their names."""

import io
import pickle
from hashlib import sha256

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesselrl.annotations.entries import Refusal
from vesselrl.annotations.folder import ImageFolder
from vesselrl.annotations.pictures import decode
from vesselrl.errors import VesselrlError
from vesselrl.prediction import frames as frames_module
from vesselrl.prediction.frames import (
    FrameFolder,
    batched,
    frame_id,
    ids_by_series,
    ids_with_frames,
    list_frames,
    windows,
)
from vesselrl.prediction.images import image_loaders

LIMIT = 10_000


def picture(*levels: int, form: str = "TIFF") -> bytes:
    """A file of a frame for each level of grey."""
    first, *more = (Image.new("L", (8, 8), level) for level in levels)
    stream = io.BytesIO()
    first.save(stream, form, save_all=bool(more), append_images=more)
    return stream.getvalue()


def folder(**counts: int):
    """File → loader of so many frames; ``__`` stands for a slash, ``_`` for the dot."""
    names = {n.replace("__", "/").replace("_", ".", 1): count for n, count in counts.items()}
    return {name: lambda c=count: picture(*range(10, 10 + c)) for name, count in names.items()}


def listed(files, folders=False):
    hashes = {name: sha256(load()).hexdigest() for name, load in files.items()}
    return list_frames(files, hashes, folders, LIMIT)


def test_frames_of_a_file_are_images_of_their_own_and_others_stay():
    files = folder(b_tif=1, run_tif=3, sub__c_tif=1)
    frames = listed(files)
    assert list(frames) == ["run_0001.png", "run_0002.png", "run_0003.png"]
    images = FrameFolder(files, frames, LIMIT)
    assert list(images) == ["b.tif", *frames, "sub/c.tif"]
    assert len(images) == 5
    assert [int(decode(images[name](), LIMIT)[0, 0]) for name in frames] == [10, 11, 12]
    assert images["b.tif"]() == files["b.tif"]()
    assert "run_0004.png" not in images


def test_frames_are_read_in_other_processes_too(tmp_path):
    (tmp_path / "run.tif").write_bytes(picture(10, 20))
    files = ImageFolder(tmp_path)
    frames = listed(files)
    copy = pickle.loads(pickle.dumps(FrameFolder(files, frames, LIMIT)))
    assert decode(copy["run_0002.png"](), LIMIT)[0, 0] == 20


def test_what_is_sent_to_another_process_does_not_grow_with_the_series():
    sizes = []
    for count in (2, 200):
        names = [f"run_{n:04}.png" for n in range(1, count + 1)]
        frames = {
            name: {"file": "run.tif", "content": "h", "number": n, "series": "run", "place": n}
            for n, name in enumerate(names, 1)
        }
        entries = pd.DataFrame({"id": names, "file": names, "frame": 0})
        loaders = image_loaders({"run.tif": bytes}, frames, entries, {}, LIMIT)
        sizes.append(len(pickle.dumps(loaders[names[0]])))
    assert sizes[0] == sizes[1]


def test_a_folder_is_a_series_in_the_order_of_its_numbers_if_asked_for():
    files = folder(p1__f10_png=1, p1__f9_png=1, p1__f100_png=1, p2__x_tif=2, alone_png=1)
    assert set(listed(files)) == {
        "p2/x_0001.png",
        "p2/x_0002.png",
    }
    frames = listed(files, folders=True)
    assert [(name, frame_id(frames[name])) for name in frames] == [
        ("p1/f9.png", "p1_0001"),
        ("p1/f10.png", "p1_0002"),
        ("p1/f100.png", "p1_0003"),
        ("p2/x_0001.png", "x_0001"),
        ("p2/x_0002.png", "x_0002"),
    ]


def test_what_cannot_be_read_is_left_to_the_check():
    files = {"text.tif": lambda: b"no image", "bomb.tif": lambda: picture(1, 2)}
    assert list_frames(files, {}, folders=False, max_pixels=10) == {}


def test_a_file_that_claims_to_hold_a_million_frames_is_no_series(monkeypatch):
    monkeypatch.setattr(frames_module, "count_frames", lambda *_: 1_000_000)
    assert list_frames({"x.dcm": bytes}, {}, folders=False, max_pixels=LIMIT) == {}


def test_pictures_of_known_kinds_are_not_read_to_find_series():
    def load():
        raise AssertionError("was read")

    assert list_frames({"a.png": load, "b.JPG": load}, {}, folders=False, max_pixels=LIMIT) == {}


def test_a_file_in_the_way_of_a_frame_is_told():
    with pytest.raises(VesselrlError, match=r"run\.tif.*run_0001\.png.*rename"):
        listed(folder(run_tif=2) | {"run_0001.png": bytes})
    frames = listed(folder(p1__a_png=1), folders=True)
    with pytest.raises(VesselrlError, match=r"both be called p1_0001"):
        ids_with_frames({"p1/a.png": "a", "p1_0001.png": "p1_0001"}, frames)


NAMES = st.text(st.sampled_from("a1/._x٣"), min_size=1, max_size=5).filter(
    lambda name: all(part.strip(".") for part in name.split("/"))
)


@given(st.dictionaries(NAMES, st.integers(1, 3), min_size=1, max_size=5), st.booleans())
def test_every_frame_has_a_name_and_an_id_of_its_own(counts, folders):
    files = {f"{name}.tif": lambda c=count: picture(*range(c)) for name, count in counts.items()}
    frames = listed(files, folders)
    names = list(FrameFolder(files, frames, LIMIT))
    assert len(set(names)) == len(names) == sum(counts.values())
    ids = ids_with_frames({name: f"alone {name}" for name in names}, frames)
    assert len(set(ids.values())) == len(ids)
    assert not any("/" in ids[name] for name in frames)


def test_the_content_of_a_frame_changes_with_its_file():
    frames = listed(folder(run_tif=2))
    before = FrameFolder({}, frames, LIMIT).contents({"b.png": "cc"})
    assert len({before[name] for name in (*frames, "b.png")}) == 3
    longer = listed(folder(run_tif=3))
    after = FrameFolder({}, longer, LIMIT).contents({})
    assert not set(after.values()) & set(before.values())


def test_a_file_is_read_once_for_all_its_frames_and_anew_when_it_changed():
    read = []

    def images(first):
        data = picture(*range(first, first + 40))

        def load():
            read.append(first)
            return data

        frames = list_frames({"run.tif": load}, {"run.tif": f"{first}"}, False, LIMIT)
        read.clear()  # to count them it was read too
        return FrameFolder({"run.tif": load}, frames, LIMIT)

    for first in (10, 60):
        shown = images(first)
        alone = [FrameFolder(shown.files, {n: f}, LIMIT)[n] for n, f in shown.frames.items()]
        levels = [decode(load(), LIMIT)[0, 0] for load in alone]  # as they come to a process
        assert levels == [*range(first, first + 40)]
        assert read == [first]


def test_batches_are_neighbours_and_together_the_series():
    series = [f"i{n:03}" for n in range(40)]
    batches = batched(series)
    assert list(batches) == series
    assert [batches[sample] for sample in series] == sorted(batches.values())
    assert len(set(batches.values())) == 3


def test_series_know_their_frames_by_pseudonyms():
    frames = listed(folder(run_tif=3))
    entries = pd.DataFrame({"id": ["i2", "i1"], "file": ["img-2.png", "img-1.png"]})
    names = {"files": {"img-1.png": "run_0001.png", "img-2.png": "run_0003.png"}}
    assert ids_by_series(frames, entries, names) == {"run": ["i1", "i2"]}


def test_windows_end_where_the_series_does():
    assert windows(list("abcde"), 3) == {
        "a": ["a", "b"],
        "b": ["a", "b", "c"],
        "c": ["b", "c", "d"],
        "d": ["c", "d", "e"],
        "e": ["d", "e"],
    }
    assert windows(["a", "b"], 1) == {"a": ["a"], "b": ["b"]}


def test_a_damaged_frame_is_refused_with_its_reason():
    cut = picture(1, 2)[:200]
    frame = {"file": "x.tif", "content": "cut", "number": 2, "series": "x", "place": 2}
    with pytest.raises(Refusal):
        FrameFolder({"x.tif": lambda: cut}, {"x_0002.png": frame}, LIMIT)["x_0002.png"]()
