import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vesselrl.errors import VesselrlError
from vesselrl.rl.observations import (
    IMAGE_FEATURES,
    MASK_FEATURES,
    Observer,
    feature_function,
    image_features,
    mask_features,
)


def features_of(image):
    return dict(zip(IMAGE_FEATURES, image_features(image), strict=True))


@settings(deadline=None, max_examples=30)
@given(arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40))))
def test_features_of_any_image_are_finite(image):
    features = image_features(image)
    assert features.dtype == np.float32
    assert features.shape == (len(IMAGE_FEATURES),)
    assert np.isfinite(features).all()


def test_a_dark_line_raises_the_ridges_of_its_width():
    image = np.full((64, 64), 150, np.uint8)
    thin, thick = image.copy(), image.copy()
    thin[31:33] = 60
    thick[26:38] = 60
    assert features_of(thin)["fine_to_coarse"] > features_of(thick)["fine_to_coarse"]
    assert features_of(thin)["fine_ridges"] > features_of(image)["fine_ridges"]


def test_noise_is_seen_as_noise():
    rng = np.random.default_rng(0)
    quiet, loud = (
        rng.normal(120, sigma, (64, 64)).clip(0, 255).astype(np.uint8) for sigma in (2, 20)
    )
    assert features_of(loud)["noise"] > 3 * features_of(quiet)["noise"]


def test_a_large_image_has_the_features_of_its_reduction():
    rng = np.random.default_rng(0)
    small = rng.normal(120, 30, (32, 32)).clip(0, 255).astype(np.uint8)
    small = np.kron(small, np.ones((8, 8), np.uint8))
    large = np.kron(small, np.ones((3, 3), np.uint8))
    for name in ("mean", "standard_deviation", "background_variation", "dark_fraction"):
        assert features_of(large)[name] == pytest.approx(features_of(small)[name], abs=0.01)


def test_colour_is_read_in_green():
    grey = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    colour = np.stack([np.zeros_like(grey), grey, np.full_like(grey, 255)], axis=-1)
    assert np.array_equal(image_features(grey), image_features(colour))


@settings(deadline=None, max_examples=50)
@given(arrays(np.bool_, (12, 14)), arrays(np.float32, (12, 14), elements=st.floats(0, 1, width=32)))
def test_features_of_any_mask_are_finite_and_of_the_order_of_one(mask, probability):
    features = mask_features(mask, probability)
    assert features.shape == (len(MASK_FEATURES),)
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 20


def test_one_step_sees_the_image_alone_more_steps_see_the_mask_and_the_step():
    training = np.random.default_rng(0).normal(3, 2, (50, 16)).astype(np.float32)
    alone = Observer.fit(training, length=1)

    def never():
        raise AssertionError("a mask was looked at")

    assert alone(training[0], never, 0).shape == (alone.size,) == (16,)
    standardised = np.stack([alone(features, never, 0) for features in training])
    assert np.allclose(standardised.mean(0), 0, atol=0.1)
    assert np.abs(alone(training[0] + 1e6, never, 0)).max() <= 5

    several = Observer.fit(training, length=4)
    seen = several(training[0], lambda: np.arange(8, dtype=np.float32), 3)
    assert seen.dtype == np.float32
    assert np.array_equal(seen[16:], [*range(8), 0.75])


class Network:
    """Sees three numbers in an image, and answers nothing else."""

    def image_features(self, image):
        return np.float32([image.mean(), image.std(), image.max()])


def test_either_set_of_features_needs_the_image_alone():
    image = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    by_hand = feature_function("handmade", network=None)
    assert np.array_equal(by_hand(image), image_features(image))
    assert feature_function("reward_network", Network())(image).shape == (3,)


@pytest.mark.parametrize("observations", ["handmade", "reward_network"])
def test_neither_the_truth_nor_the_segmenters_answers_are_looked_at(outcomes_of, observations):
    def load(_):
        raise AssertionError("a scene was made, of which truth and answers are parts")

    image = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    see = feature_function(observations, Network())
    outcomes = outcomes_of("setting", 1)
    closed = type(outcomes)(["x"], load, outcomes.rules, ["dice"], lambda _: see(image))
    features = closed.image_features("x")
    observer = Observer.fit(features[None], 1, observations)
    assert observer(features, lambda: closed.mask_features("x", ()), 0).shape == features.shape


def test_features_of_another_reward_network_are_refused():
    observer = Observer.fit(np.zeros((5, 192), np.float32), 1, "reward_network")
    with pytest.raises(VesselrlError, match="192 features.*reward_network.*is shown 64.*again"):
        observer(np.zeros(64, np.float32), None, 0)
