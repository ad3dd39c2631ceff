import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vesselrl.annotations.duplicates import (
    LookAlike,
    as_rows,
    find_look_alikes,
    leaks,
    linked_groups,
    tell_leaks,
    tell_together,
)
from vesselrl.annotations.perceptual_hash import near_pairs, perceptual_hash
from vesselrl.errors import VesselrlError

DEFAULT = 24


def distance(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


def flipped(text, *bits):
    for bit in bits:
        text = f"{int(text, 16) ^ (1 << bit):064x}"
    return text


def scene(seed, height=240, width=200):
    """A grey picture with structure at all scales, as photographs have."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for side in (3, 6, 12, 25, 50):
        layer = Image.fromarray(random.normal(0, 30, (side, side)).astype(np.float32))
        total += np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def as_jpeg(pixels, quality):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels, factor):
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


VARIANTS = {
    "brighter": lambda p: np.clip(p.astype(int) + 20, 0, 255).astype(np.uint8),
    "less contrast": lambda p: (p * 0.6 + 40).astype(np.uint8),
    "other gamma": lambda p: (255 * (p / 255) ** 0.8).astype(np.uint8),
    "JPEG": lambda p: as_jpeg(p, 40),
    "half the size": lambda p: resized(p, 0.5),
    "larger": lambda p: resized(p, 1.7),
    "shifted by a pixel": lambda p: np.roll(p, 1, axis=1),
    "in colour": lambda p: np.stack([p] * 3, axis=-1),
}


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_changed_copy_looks_like_the_original(change):
    for seed in range(10):
        original = scene(seed)
        copy = change(original)
        assert distance(perceptual_hash(original), perceptual_hash(copy)) <= DEFAULT


def test_different_pictures_do_not_look_alike():
    hashes = [perceptual_hash(scene(seed)) for seed in range(60)]
    assert min(distance(a, b) for a, b in itertools.combinations(hashes, 2)) > 2 * DEFAULT


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (7, 5, 3), (64, 64)])
def test_a_flat_picture_looks_like_nothing(shape):
    assert perceptual_hash(np.full(shape, 90, np.uint8)) == ""
    assert find_look_alikes({"a": "", "b": ""}, {"a": "1", "b": "2"}, DEFAULT) == []


@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (7, 5, 3), (2000, 130)])
def test_pictures_of_any_shape_have_a_hash_of_64_digits(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert len(bytes.fromhex(perceptual_hash(pixels))) == 32


@st.composite
def sets_of_hashes(draw):
    """Hashes in clusters: each a few flips away from one of a few."""
    bases = draw(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=4))
    members = st.tuples(st.sampled_from(bases), st.sets(st.integers(0, 255), max_size=40))
    drawn = draw(st.lists(members, max_size=25))
    return sorted({flipped(f"{base:064x}", *bits) for base, bits in drawn})


@settings(max_examples=300, deadline=None)
@given(sets_of_hashes(), st.integers(0, 31))
def test_the_search_finds_exactly_what_comparing_all_pairs_finds(hashes, bits):
    first, second, distances = near_pairs(hashes, bits)
    found = set(zip(first.tolist(), second.tolist(), distances.tolist(), strict=True))
    assert found == {
        (i, j, distance(hashes[i], hashes[j]))
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if distance(hashes[i], hashes[j]) <= bits
    }


def test_the_search_looks_at_few_of_all_pairs():
    random = np.random.default_rng(0)
    hashes = [random.bytes(32).hex() for _ in range(20_000)]
    hashes += [flipped(hash_, *range(0, 240, 10)) for hash_ in hashes[:5]]
    first, second, distances = near_pairs(hashes, DEFAULT)
    assert list(zip(first, second, strict=True)) == [(i, 20_000 + i) for i in range(5)]
    assert set(distances) == {DEFAULT}


A, B = "0f" * 32, "35" * 32


def test_each_pair_of_groups_is_told_once_by_its_most_similar_images():
    hashes = {"a1": A, "a2": flipped(A, 1), "b1": flipped(A, 1, 2), "b2": flipped(A, 3, 4), "c": B}
    groups = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c": "c"}
    assert find_look_alikes(hashes, groups, DEFAULT) == [LookAlike(("a", "b"), ("a2", "b1"), 1)]


def test_images_of_one_group_may_look_alike():
    assert find_look_alikes({"a1": A, "a2": A}, {"a1": "a", "a2": "a"}, DEFAULT) == []


@given(
    st.lists(st.tuples(st.sampled_from([A, flipped(A, 7), B]), st.integers(0, 60))), st.randoms()
)
def test_neither_order_nor_number_of_copies_changes_what_is_linked(images, random):
    files = {f"{place}.png": image for place, image in enumerate(images)}
    shuffled = list(files)
    random.shuffle(shuffled)
    results = [
        find_look_alikes(
            {name: files[name][0] for name in names},
            {name: str(files[name][1]) for name in names},
            DEFAULT,
        )
        for names in (files, shuffled)
    ]
    assert results[0] == results[1]
    sets = [{str(g) for h, g in images if (h == B) is is_b} for is_b in (True, False)]
    joined = [sets[0] | sets[1]] if sets[0] & sets[1] else sets
    assert sorted(map(sorted, linked_groups(results[0]))) == sorted(
        sorted(one) for one in joined if len(one) > 1
    )


def test_one_picture_in_a_thousand_groups_makes_no_million_pairs():
    files = {f"{i}.png": A for i in range(1000)}
    found = find_look_alikes(files, {name: name for name in files}, DEFAULT)
    assert len(found) < 1500
    assert linked_groups(found) == [set(files)]


def crowd(count):
    """Pictures that all look alike, and no two the same."""
    random = np.random.default_rng(0)
    return [flipped(A, *random.choice(256, 8, replace=False).tolist()) for _ in range(count)]


def test_a_crowd_of_like_pictures_makes_no_square_of_pairs():
    files = {f"{i}.png": hash_ for i, hash_ in enumerate(crowd(600))}
    found = find_look_alikes(files, {name: name for name in files}, DEFAULT)
    assert len(found) < 600 * 21
    assert linked_groups(found) == [set(files)]


def test_two_crowds_that_one_pair_ties_together_stay_tied():
    one = crowd(40)
    other = [flipped(hash_, *range(100, 130)) for hash_ in one]
    bridge = [flipped(A, *range(100, 115)), flipped(A, *range(100, 116))]
    files = {f"{i:03}.png": hash_ for i, hash_ in enumerate([*one, *other, *bridge])}
    found = find_look_alikes(files, {name: name for name in files}, DEFAULT)
    assert linked_groups(found) == [set(files)]


@settings(max_examples=50, deadline=None)
@given(sets_of_hashes())
def test_what_a_few_pictures_tie_together_is_told_whole(hashes):
    files = {f"{i:02}.png": hash_ for i, hash_ in enumerate(hashes[:20])}
    found = find_look_alikes(files, {name: name for name in files}, DEFAULT)
    assert {(look.files, look.distance) for look in found} == {
        ((a, b), distance(files[a], files[b]))
        for a, b in itertools.combinations(files, 2)
        if distance(files[a], files[b]) <= DEFAULT
    }


def test_no_images_have_no_look_alikes():
    assert find_look_alikes({}, {}, DEFAULT) == []
    assert linked_groups([]) == []


PAIR = LookAlike(("a", "b"), ("a1.png", "b1.png"), 3)
OTHERS = [LookAlike(("a", f"x{i}"), ("a1.png", f"x{i}.png"), 9) for i in range(4)]


def test_only_pairs_in_different_splits_leak():
    split_of = {"a": "train", "b": "test", "x0": "train"}
    assert leaks([PAIR, *OTHERS], split_of) == [PAIR]
    assert leaks([PAIR], {"a": "train"}) == []
    assert leaks([PAIR], {"a": "train", "b": "unlabelled"}) == []
    assert leaks([PAIR], {"a": "unlabelled", "b": "test"}) == [PAIR]
    assert as_rows([PAIR], split_of) == [
        {
            "distance": 3, "file_1": "a1.png", "file_2": "b1.png", "group_1": "a", "group_2": "b",
            "split_1": "train", "split_2": "test",
        }
    ]  # fmt: skip


def test_leaks_are_warned_of_with_what_to_do():
    split_of = {"a": "train", "b": "test", **{f"x{i}": "val" for i in range(4)}}
    (warning,) = tell_leaks([PAIR, *OTHERS], split_of, "warn", by_file=False)
    assert warning.startswith(
        "5 pairs of groups have images that look alike in different splits: a1.png (group a, "
        "train) and b1.png (group b, test), 3 of 256 bits apart; "
    )
    assert "; …. If they are of one patient, give them one group in groups.json, or" in warning
    (warning,) = tell_leaks([PAIR], split_of, "move", by_file=True)
    assert "in one split in splits.json" in warning
    assert "without labels" not in warning
    (warning,) = tell_leaks([PAIR], {"a": "unlabelled", "b": "test"}, "warn", by_file=True)
    assert warning.endswith("Those without labels are left out if split.on_leak is move.")
    assert tell_leaks([], split_of, "stop", by_file=False) == []


def test_leaks_stop_the_run_if_asked_to():
    with pytest.raises(VesselrlError, match=r"1 pair of groups has .* set split.on_leak to warn."):
        tell_leaks([PAIR], {"a": "train", "b": "test"}, "stop", by_file=False)


def test_groups_kept_together_are_told_and_those_that_moved_for_it():
    split_of = {"a": "train", "b": "train", "c": "val", "d": "val"}
    assert tell_together([], {}, split_of) == []
    (warning,) = tell_together([{"b", "a"}, {"c", "d"}], {"a": "train", "b": "test"}, split_of)
    assert warning.endswith(
        "(split.on_leak is move): a + b; c + d. Moved for it: b (test → train)."
    )
    (warning,) = tell_together([set("abcdef")], {}, split_of)
    assert warning.endswith("a + b + c + d + ….")
