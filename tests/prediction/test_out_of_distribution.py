"""How unlike the training images an image is."""

import numpy as np
import pytest
from scipy import ndimage

from vesselrl.prediction.out_of_distribution import Reference, shrunk_covariance
from vesselrl.rl.observations import image_features


@pytest.fixture
def reference():
    rng = np.random.default_rng(0)
    scale = np.array([1, 5, 0.1, 1])
    return Reference.fit(rng.normal(0, scale, (60, 4)), rng.normal(0, scale, (40, 4)))


def test_of_images_like_the_validation_images_all_values_are_equally_frequent(reference):
    rng = np.random.default_rng(1)
    shares = [reference.share_nearer(rng.normal(0, [1, 5, 0.1, 1])) for _ in range(400)]
    assert np.percentile(shares, [25, 50, 75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.15)


def test_an_image_unlike_all_is_farther_than_all(reference):
    assert reference.share_nearer(np.array([0, 0, 2, 0])) == 1
    assert reference.share_nearer(reference.mean) == 0


def test_distance_counts_in_the_spread_of_each_direction(reference):
    near, far = (
        reference.distance(np.array([0, 2, 0, 0])),
        reference.distance(np.array([0, 0, 2, 0])),
    )
    assert far > 10 * near


def test_more_features_than_images_are_no_obstacle():
    rng = np.random.default_rng(0)
    reference = Reference.fit(rng.normal(size=(5, 50)), rng.normal(size=(3, 50)))
    assert np.isfinite(reference.distances).all()
    assert np.isfinite(Reference.fit(np.ones((4, 6)), np.ones((2, 6))).distance(np.zeros(6)))


def test_a_covariance_is_shrunk_less_the_more_images_there_are():
    rng = np.random.default_rng(0)
    true = np.diag([1.0, 4.0, 9.0])
    errors = [
        np.abs(shrunk_covariance(rng.normal(0, [1, 2, 3], (n, 3))) - true).max()
        for n in (20, 200, 20000)
    ]
    assert errors[2] < 0.2
    assert errors[2] < errors[0]


def test_a_covariance_is_shrunk_as_by_hand():
    rows = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
    # S = diag(0.5, 2), m = 1.25, d² = 1.125; |x xᵀ|² sums to 34, so b² = (34 / 4 - 4.25) / 4
    share = min(1, (34 / 4 - 4.25) / 4 / 1.125)
    expected = share * 1.25 * np.eye(2) + (1 - share) * np.diag([0.5, 2])
    assert shrunk_covariance(rows) == pytest.approx(expected, abs=1e-6)


def test_it_survives_being_written_down(reference):
    again = Reference.from_state(reference.state())
    features = np.array([0.3, 1, 0, 0])
    assert again.share_nearer(features) == reference.share_nearer(features)


def test_noise_blur_and_a_blank_image_are_unlike_angiograms(world):
    images = {s: image for s, (image, _) in world.drawn.items()}
    features = {s: image_features(image) for s, image in images.items()}
    training, validation = (
        np.stack([features[s] for s in world.of_split(split)]) for split in ("train", "val")
    )
    reference = Reference.fit(training, validation)
    image = images["test10"]
    blurred = ndimage.uniform_filter(image, 9)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    for odd in (blurred, noise, np.full_like(image, 40), 255 - image):
        assert reference.share_nearer(image_features(odd)) == 1
    assert reference.distance(image_features(image)) < reference.distance(image_features(noise))
