"""What the segmenter learns from."""

import numpy as np
import torch

from vesselrl.segmenters.unet.examples import pairs, segmenter_example

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (60, 120, 3), dtype=np.uint8)
TRUTH = RNG.random((60, 120)) < 0.3


def test_images_are_grey_and_no_longer_than_asked_for():
    example = segmenter_example(IMAGE, TRUTH, 60)
    assert {name: (array.shape, array.dtype.name) for name, array in example.items()} == {
        "image": ((30, 60), "uint8"),
        "truth": ((30, 60), "uint8"),
    }
    expected = TRUTH.reshape(30, 2, 60, 2).mean((1, 3))
    np.testing.assert_allclose(example["truth"] / 255, expected, atol=1 / 500)


def test_small_images_stay_as_they_are():
    example = segmenter_example(IMAGE, TRUTH, 200)
    assert (example["image"] == IMAGE[..., 1]).all()
    assert (example["truth"] == 255 * TRUTH).all()


def test_an_image_without_label_has_no_truth():
    assert set(segmenter_example(IMAGE, None, 60)) == {"image"}


def test_what_is_learned_of_an_image_is_its_truth_or_what_others_believe():
    example = segmenter_example(IMAGE, TRUTH, 60)
    belief = np.full((30, 60), 7, np.uint8)
    loaders, device = {"a": lambda: example}, torch.device("cpu")
    truth, believed = pairs(loaders, device)[0], pairs(loaders, device, {"a": lambda: belief})[0]
    assert truth.numpy().tolist() == [example["image"].tolist(), example["truth"].tolist()]
    assert believed.numpy().tolist() == [example["image"].tolist(), belief.tolist()]
