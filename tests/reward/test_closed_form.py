from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vesselrl.metrics.masks import overlap_scores
from vesselrl.reward.closed_form import error_probability, expected_scores

SHAPE = (2, 3)
masks = arrays(np.bool_, SHAPE)
probabilities = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))


def expectations(mask, q):
    """E[TP], E[FP], E[FN] by going through every truth there could be."""
    total = np.zeros(3)
    for bits in product([False, True], repeat=mask.size):
        truth = np.array(bits).reshape(SHAPE)
        chance = np.where(truth, q, 1 - q.astype(float)).prod()
        total += chance * np.array(
            [(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum()]
        )
    return total


@given(masks, probabilities)
def test_scores_are_the_ratios_of_expectations_over_all_truths(mask, q):
    tp, fp, fn = expectations(mask, q)
    scores = expected_scores(mask[None], q[None])
    for key, part, whole in (
        ("dice", 2 * tp, 2 * tp + fp + fn),
        ("recall", tp, tp + fn),
        ("precision", tp, tp + fp),
    ):
        assert scores[key].shape == (1, 1)
        if whole > 1e-6:
            assert scores[key][0, 0] == pytest.approx(part / whole, abs=1e-5)


@given(arrays(np.bool_, (3, *SHAPE)), masks)
def test_a_certain_opinion_gives_the_true_scores_empty_masks_included(predictions, truth):
    expected = expected_scores(predictions, truth[None].astype(np.float32))
    for key, score in overlap_scores(predictions, truth).items():
        np.testing.assert_allclose(expected[key][:, 0], score)


def test_every_opinion_has_its_column():
    rng = np.random.default_rng(0)
    many, q = rng.random((5, 8, 9)) > 0.5, rng.random((3, 8, 9)).astype(np.float32)
    together = expected_scores(many, q)
    for column, opinion in enumerate(q):
        alone = expected_scores(many, opinion[None])
        for key, score in together.items():
            assert score.shape == (5, 3)
            np.testing.assert_allclose(score[:, [column]], alone[key], rtol=1e-6)


def test_a_value_by_hand():
    scores = expected_scores(np.array([[[1, 0]]], bool), np.array([[[0.8, 0.4]]], np.float32))
    assert scores["dice"][0, 0] == pytest.approx(2 * 0.8 / (1 + 1.2))
    assert scores["recall"][0, 0] == pytest.approx(0.8 / 1.2)
    assert scores["precision"][0, 0] == pytest.approx(0.8)


def test_an_error_is_expected_where_mask_and_opinions_differ():
    mask = np.array([[True, False, True]])
    opinions = np.array([[[0.9, 0.2, 0.0]], [[0.7, 0.0, 0.2]]], np.float32)
    np.testing.assert_allclose(error_probability(mask, opinions), [[0.2, 0.1, 0.9]], rtol=1e-6)


class Noted(np.ndarray):
    """An array that notes how large those are that are multiplied with another."""

    sizes = None

    def __array_ufunc__(self, ufunc, method, *inputs, **how):
        plain = [np.asarray(one) for one in inputs]
        if ufunc is np.matmul:
            self.sizes.append(plain[0].size)
        return getattr(ufunc, method)(*plain, **how)


def test_sums_over_large_images_are_made_by_one_core(monkeypatch):
    monkeypatch.setattr(Noted, "sizes", [])
    rng = np.random.default_rng(0)
    q, masks = rng.random((5, 640, 400), np.float32), rng.random((2, 640, 400)) > 0.8
    scores = expected_scores(masks, q.view(Noted))
    assert sum(Noted.sizes) == len(masks) * q.size
    assert max(Noted.sizes) <= 460_800  # from which on OpenBLAS starts threads
    both = np.einsum("nhw,mhw->nm", masks.astype(float), q.astype(float))
    np.testing.assert_allclose(scores["precision"], both / masks.sum((1, 2))[:, None], rtol=1e-5)
