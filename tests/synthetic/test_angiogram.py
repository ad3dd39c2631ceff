"""The drawn angiograms: reproducible, alike within a patient, like real ones in what matters."""

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import sato

from vesselrl.synthetic import angiogram as drawing
from vesselrl.synthetic.angiogram import Angiogram, draw_patient
from vesselrl.synthetic.tree import PIXEL
from vesselrl.synthetic.variation import TYPICAL, WIDE, Variation

SIZE = 128
SEEDS = range(8)


@pytest.fixture(scope="module")
def patients() -> list[list[Angiogram]]:
    return [draw_patient(seed, frames=2, size=SIZE) for seed in SEEDS]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_image_and_mask_have_the_promised_types(patients: list[list[Angiogram]]) -> None:
    angiogram = patients[0][0]
    assert (angiogram.image.dtype, angiogram.mask.dtype) == (np.uint8, np.bool_)
    assert angiogram.image.shape == angiogram.mask.shape == (SIZE, SIZE)


def test_the_same_seed_draws_the_same_frames(patients: list[list[Angiogram]]) -> None:
    for drawn, again in zip(patients[3], draw_patient(3, frames=2, size=SIZE), strict=True):
        np.testing.assert_array_equal(drawn.image, again.image)
        np.testing.assert_array_equal(drawn.mask, again.mask)


def test_a_frame_does_not_depend_on_how_many_are_drawn(patients: list[list[Angiogram]]) -> None:
    (alone,) = draw_patient(3, frames=1, size=SIZE)
    np.testing.assert_array_equal(alone.image, patients[3][0].image)


def test_other_seeds_draw_other_patients(patients: list[list[Angiogram]]) -> None:
    for first, second in pairwise(patients):
        assert dice(first[0].mask, second[0].mask) < 0.5
        assert not np.array_equal(first[0].image, second[0].image)


def test_frames_of_one_patient_share_their_tree(patients: list[list[Angiogram]]) -> None:
    """A shift of a few pixels brings most of one frame's vessels near the other's."""
    reach = np.ones((2 * (SIZE // 20) + 1,) * 2, dtype=bool)
    covered = [
        (smaller & ndimage.binary_dilation(larger, reach)).sum() / smaller.sum()
        for smaller, larger in (sorted((a.mask, b.mask), key=np.sum) for a, b in patients)
    ]
    assert np.mean(covered) > 0.9


def test_frames_of_one_patient_differ(patients: list[list[Angiogram]]) -> None:
    for first, second in patients:
        assert not np.array_equal(first.image, second.image)
        assert dice(first.mask, second.mask) < 0.98


def test_vessels_are_darker_than_their_surroundings(patients: list[list[Angiogram]]) -> None:
    for angiogram in (frame for frames in patients for frame in frames):
        near = ndimage.binary_dilation(angiogram.mask, iterations=4)
        near &= ~ndimage.binary_dilation(angiogram.mask, iterations=1)
        lit = ndimage.minimum_filter(angiogram.image, 5) > 30
        vessel = angiogram.image[angiogram.mask & lit].mean()
        assert vessel < angiogram.image[near & lit].mean() - 5


def test_vessels_cover_a_few_percent_of_the_image(patients: list[list[Angiogram]]) -> None:
    fractions = [frame.mask.mean() for frames in patients for frame in frames]
    assert min(fractions) > 0.02
    assert max(fractions) < 0.1
    assert 0.04 < np.mean(fractions) < 0.08


def test_the_finest_vessels_are_not_labelled() -> None:
    """The finest that any annotator labels is a tube that holds a disk of radius 0.9 px at 256."""
    size = 512
    disk = np.hypot(*np.mgrid[-1:2, -1:2]) < 0.9 * PIXEL * size - 0.5
    for seed in range(3):
        (angiogram,) = draw_patient(seed, frames=1, size=size)
        kept = ndimage.binary_opening(angiogram.mask, disk)
        assert kept.sum() > 0.98 * angiogram.mask.sum()


def test_catheter_and_second_tree_are_shown_but_not_labelled() -> None:
    patient = drawing._meet(np.random.default_rng(4), SIZE, TYPICAL)
    tube = np.linspace(0.2, 0.8, SIZE * 2)
    catheter = replace(
        patient.catheter,
        points=np.stack([tube, tube], axis=1),
        radii=np.full(len(tube), 2.5 * PIXEL),
    )
    absent = replace(catheter, radii=np.full(len(tube), 1e-9))
    second = np.zeros((SIZE, SIZE))
    second[40:44] = 0.3
    bare, crowded = (
        drawing._expose(shown, np.random.default_rng(0), SIZE)
        for shown in (
            replace(patient, catheter=absent),
            replace(patient, catheter=catheter, tissue=patient.tissue + second),
        )
    )
    np.testing.assert_array_equal(crowded.mask, bare.mask)
    darkened = bare.image.astype(int) - crowded.image > 5
    assert darkened.mean() > 0.02


def test_a_patient_looks_the_same_at_twice_the_size(patients: list[list[Angiogram]]) -> None:
    (large,) = draw_patient(5, frames=1, size=2 * SIZE)
    halved = large.image.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
    correlation = np.corrcoef(halved.ravel(), patients[5][0].image.ravel())[0, 1]
    assert correlation > 0.95
    assert dice(large.mask[::2, ::2], patients[5][0].mask) > 0.85


def test_a_ridge_filter_finds_the_vessels_but_not_perfectly() -> None:
    """As on real angiograms, where a Sato filter with a fixed quantile reaches about 0.7."""
    scores = []
    for seed in SEEDS:
        (angiogram,) = draw_patient(seed, frames=1, size=256)
        ridges = sato(angiogram.image.astype(float), sigmas=[1.5, 2.5, 3.5], black_ridges=True)
        ridges[ndimage.minimum_filter(angiogram.image, 15) < 30] = 0
        scores.append(dice(ridges > np.quantile(ridges, 0.93), angiogram.mask))
    assert 0.55 < np.median(scores) < 0.8


def test_an_image_takes_a_fraction_of_a_second() -> None:
    start = time.process_time()
    draw_patient(1, frames=3, size=256)
    assert (time.process_time() - start) / 3 < 1.0


def test_wide_variation_draws_patients_that_differ_more() -> None:
    def spread(variation: Variation) -> np.ndarray:
        drawn = [draw_patient(seed, 1, 96, variation)[0] for seed in range(16)]
        return np.std([(a.image.mean(), a.mask.mean()) for a in drawn], axis=0)

    assert (spread(WIDE) > spread(TYPICAL)).all()


def test_what_annotators_draw_may_be_thinner_than_the_vessel() -> None:
    (whole,) = draw_patient(2, 1, 128)
    (thin,) = draw_patient(2, 1, 128, replace(TYPICAL, drawn=(0.7, 0.7)))
    np.testing.assert_array_equal(thin.image, whole.image)
    assert 0.5 < thin.mask.sum() / whole.mask.sum() < 0.85
    assert not (thin.mask & ~whole.mask).any()
