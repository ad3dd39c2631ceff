from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.metrics import normalized_mutual_information

from vesselrl.reward.examples import reward_examples
from vesselrl.reward.parameters import ExampleParameters, ScalarParameters
from vesselrl.reward.scalar import (
    CHUNK,
    Lesson,
    ScalarJudge,
    build_network,
    normalised_mutual_information,
    train_scalar,
)

CHANNELS = [4, 4, 8, 8]
PARAMETERS = ScalarParameters(
    side=64, channels=[8, 8, 16, 16], batch=16, iterations=120, learning_rate=0.01
)
SHAPE = (5, 7)


@pytest.fixture(scope="module")
def loaders(drawn):
    parameters = ExampleParameters(max_side=96, corruptions=6)
    examples = {
        sample: reward_examples(*parts, parameters, np.random.default_rng(number))
        for number, (sample, parts) in enumerate(drawn.items())
    }
    return {sample: partial(examples.get, sample) for sample in examples}


@pytest.fixture(scope="module")
def train(loaders):
    training = {sample: loaders[sample] for sample in list(loaders)[:8]}

    def run(sees_image=True, target="dice", seed=0, **changes):
        parameters = PARAMETERS.model_copy(update=changes)
        return train_scalar(training, sees_image, target, parameters, seed)

    return run


@pytest.fixture(scope="module")
def scalar(train):
    return train()


@pytest.fixture(scope="module")
def galdran(train):
    return train(sees_image=False, target="nmi")


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    masks = ndimage.gaussian_filter(rng.random((CHUNK + 3, 70, 90)), (0, 2, 2)) > 0.51
    masks[1] = False
    return rng.integers(0, 255, (70, 90), dtype=np.uint8), masks


def untrained(sees_image=True, seed=0):
    torch.manual_seed(seed)
    return ScalarJudge(build_network(CHANNELS, sees_image), CHANNELS, 64, sees_image)


def weights(judge):
    return torch.cat([p.flatten().cpu() for p in judge.network.parameters()])


def bad_masks(truth):
    """Much too thick, everything, nothing; half of the tree, the other half noise, noise alone."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random(truth.shape), 2) > 0.52
    half = np.arange(truth.shape[1]) < truth.shape[1] // 2
    thick = ndimage.binary_dilation(truth, iterations=4)
    return np.stack([thick, truth | True, truth & False, truth & half, truth & half | noise, noise])


@pytest.mark.parametrize("sample", ["i8", "i9"])
def test_good_masks_of_images_it_never_saw_are_told_from_bad_ones(scalar, galdran, drawn, sample):
    image, truth, _ = drawn[sample]
    masks = np.concatenate([truth[None], bad_masks(truth)])
    seeing, blind = scalar.scores(image, masks), galdran.scores(image, masks)
    assert seeing.argmax() == 0
    assert seeing[0] > seeing[1:].mean() + 0.3
    assert blind[0] > blind[1:4].max() + 0.15  # without the image others may look like a tree


def test_the_one_that_sees_the_image_tells_its_tree_from_another(scalar, galdran, drawn):
    image, truth, _ = drawn["i8"]
    masks = np.stack([truth, drawn["i9"][1]])
    right, wrong = scalar.scores(image, masks)
    assert right > wrong + 0.2
    np.testing.assert_array_equal(
        galdran.scores(image, masks), galdran.scores(drawn["i9"][0], masks)
    )


@pytest.mark.parametrize("sees_image", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (20, 33), (64, 64), (130, 70, 3), (300, 40)])
def test_every_size_of_image_is_judged(shape, sees_image):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, shape, dtype=np.uint8)
    masks = np.stack([rng.random(shape[:2]) > 0.5, np.zeros(shape[:2], bool)])
    scores = untrained(sees_image).scores(image, masks)
    assert scores.shape == (2,)
    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_mask_is_judged_for_itself_however_many_there_are(case):
    image, masks = case
    judge = untrained()
    together = judge.scores(image, masks)
    alone = [judge.scores(image, masks[i : i + 1])[0] for i in (0, 1, CHUNK, CHUNK + 2)]
    np.testing.assert_allclose(together[[0, 1, CHUNK, CHUNK + 2]], alone, atol=1e-6)
    assert len(np.unique(together)) == len(masks)
    assert judge.scores(image, masks[:0]).shape == (0,)


def test_a_saved_judge_gives_the_same_answers(scalar, galdran, case, tmp_path):
    image, masks = case
    for judge in (scalar, galdran):
        torch.save(judge.state(), tmp_path / "judge.pth")
        again = ScalarJudge.from_state(torch.load(tmp_path / "judge.pth", weights_only=True))
        np.testing.assert_array_equal(again.scores(image, masks), judge.scores(image, masks))


def test_the_seed_fixes_the_weights(train):
    one, same, other = (train(seed=seed, iterations=3) for seed in (0, 0, 1))
    torch.testing.assert_close(weights(one), weights(same), rtol=0, atol=0)
    assert not torch.equal(weights(one), weights(other))


def test_the_number_of_threads_changes_nothing(train):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = train(iterations=3)
        torch.set_num_threads(3)
        three = train(iterations=3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(weights(one), weights(three), rtol=0, atol=0)


def test_training_leaves_the_callers_random_numbers_alone(train):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train(iterations=1)
    torch.testing.assert_close(torch.rand(3), expected)


def lesson_of(example, sees_image=True, target="dice"):
    rng = np.random.default_rng(0)
    return Lesson.of([lambda: example] * 5, 300, sees_image, target, 32, rng), rng


@pytest.fixture
def marked():
    """The segmenter's masks are all full, the corrupted ones the lower half, the truth the left."""
    rows, columns = np.indices((32, 32))
    left, lower = columns < 16, rows >= 16
    maps = np.stack([left | True, lower, lower]).astype(np.uint8) * 255
    truth = left.astype(np.uint8) * 255
    return {"image": truth, "truth": truth, "maps": maps, "sources": np.array(["", "a", "b"])}


@pytest.mark.parametrize(("sees_image", "expected"), [(True, {0, 512, 1024}), (False, {0, 512})])
def test_one_that_sees_no_image_learns_from_corrupted_truths_alone(marked, sees_image, expected):
    lesson, _ = lesson_of(marked, sees_image)
    assert {int(mask.sum()) for mask in lesson.masks > 127} == expected


@pytest.mark.parametrize(("target", "value"), [("dice", 0.5), ("nmi", 0.0)])
def test_masks_of_a_lesson_have_their_true_quality(marked, target, value):
    lesson, _ = lesson_of(marked, sees_image=False, target=target)
    true = {"empty": 0.0, "truth": 1.0, "corrupted": value}
    for mask, quality in zip(lesson.masks > 127, lesson.qualities, strict=True):
        kind = "empty" if not mask.any() else "truth" if mask[0, 0] else "corrupted"
        assert quality == pytest.approx(true[kind], abs=1e-6)


def test_image_and_mask_are_turned_together_and_only_the_image_is_re_lit(marked):
    marked["maps"][1:] = marked["truth"]
    marked["image"] = marked["truth"] // 2
    lesson, rng = lesson_of(marked, sees_image=False)
    chosen = np.flatnonzero(lesson.qualities.numpy() == 1)[:20]
    image, mask, _ = lesson.batch(chosen, rng)
    np.testing.assert_array_equal(image > 0, mask == 1)
    assert set(mask.unique().tolist()) == {0, 1}
    assert len(image.amax((1, 2)).unique()) == len(chosen)
    assert len(mask.flatten(1).unique(dim=0)) == 4


def test_a_training_set_without_corruptions_serves_too(loaders):
    example = loaders["i0"]()
    own = example["sources"] == ""
    bare = {**example, "maps": example["maps"][own], "sources": example["sources"][own]}
    brief = PARAMETERS.model_copy(update={"iterations": 1})
    for sees_image in (True, False):
        judge = train_scalar({"i0": lambda: bare}, sees_image, "dice", brief, 0)
        assert weights(judge).isfinite().all()


@given(arrays(np.bool_, (4, *SHAPE)), arrays(np.bool_, SHAPE))
def test_normalised_mutual_information_is_that_of_scikit_image(masks, truth):
    scores = normalised_mutual_information(masks, truth)
    assert ((scores >= 0) & (scores <= 1)).all()
    for mask, score in zip(masks, scores, strict=True):
        if mask.any() and truth.any() and not (mask.all() and truth.all()):
            # scikit-image's is (H(m) + H(t)) / H(m, t), from 1 to 2 (Studholme et al., 1998).
            theirs = normalized_mutual_information(mask, truth, bins=2)
            assert score == pytest.approx(2 - 2 / theirs, abs=1e-6)


@given(st.booleans(), st.booleans())
def test_constant_masks_tell_all_of_their_like_and_nothing_of_others(mask, truth):
    masks, whole = np.full((1, *SHAPE), mask), np.full(SHAPE, truth)
    assert normalised_mutual_information(masks, whole) == [float(mask == truth)]
    half = np.indices(SHAPE)[0] > 2
    assert normalised_mutual_information(masks, half) == [0]
