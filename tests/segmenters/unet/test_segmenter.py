import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from vesselrl.errors import VesselrlError
from vesselrl.networks.architecture import Architecture
from vesselrl.networks.imaging import grey, normalised, padded, reduced, reduced_size
from vesselrl.segmenters.base import build_segmenter, levels_from
from vesselrl.segmenters.candidates import make_candidates
from vesselrl.segmenters.levels import to_levels
from vesselrl.segmenters.parameters import SegmenterParameters
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import SHIPPED
from vesselrl.segmenters.unet.weights import load_weights, save_weights
from vesselrl.synthetic.angiogram import draw_patient

PROMPTS = {
    "tree": {"operating_point": 0.5, "zoom": 1},
    "surely": {"operating_point": 0.9, "zoom": 1},
    "perhaps": {"operating_point": 0.1, "zoom": 1},
    "branches": {"operating_point": 0.5, "zoom": 1.5},
}


def parameters(weights="shipped", **changes):
    values = {"kind": "unet", "weights": str(weights), "default_prompt": "tree", "prompts": PROMPTS}
    return SegmenterParameters.model_validate({**values, **changes})


@pytest.fixture
def small(tmp_path):
    """A file of weights that were drawn, of a small network."""
    architecture = Architecture(1, (4, 4, 4, 4, 4, 4), 1)
    path = tmp_path / "small.safetensors"
    save_weights(path, SegmentationNetwork(architecture.build(3).eval(), architecture, 64))
    return path


@pytest.fixture(scope="module")
def angiogram():
    return draw_patient(1, 1, 160)[0]


def test_the_shipped_network_finds_vessels_without_any_label(angiogram):
    (tree,) = build_segmenter(parameters()).probabilities(angiogram.image, ["tree"])
    found = tree > 0.5
    dice = 2 * (found & angiogram.mask).sum() / (found.sum() + angiogram.mask.sum())
    assert dice > 0.7


def test_its_levels_are_those_of_its_maps(small, angiogram):
    segmenter, prompts = build_segmenter(parameters(small)), ["tree", "branches"]
    maps = segmenter.probabilities(angiogram.image, prompts)
    np.testing.assert_array_equal(levels_from(segmenter, angiogram.image, prompts), to_levels(maps))
    assert segmenter.encoder_passes == 2 * 2


def test_a_network_that_answers_with_nan_has_failed(small, angiogram):
    segmenter = build_segmenter(parameters(small))
    with torch.no_grad():
        next(segmenter._network.module.parameters()).fill_(np.nan)
    made = make_candidates("a", angiogram.image, segmenter, ["tree"])
    assert "[0, 1]" in str(made["error"])
    assert made["failed"].all()


def test_an_operating_point_becomes_one_half(small, angiogram):
    maps = build_segmenter(parameters(small)).probabilities(angiogram.image, list(PROMPTS))
    plain = load_weights(small).probability(angiogram.image)
    np.testing.assert_allclose(maps[0], plain, atol=1e-6)
    for number, cut in ((1, 0.9), (2, 0.1)):
        clear = np.abs(plain - cut) > 1e-5
        np.testing.assert_array_equal(maps[number][clear] > 0.5, plain[clear] > cut)
    assert (maps[1] <= maps[0]).all()
    assert (maps[0] <= maps[2]).all()


def test_mirrored_views_are_turned_back_before_they_are_averaged(angiogram):
    network = load_weights(SHIPPED)
    image = angiogram.image[:, :128]
    views = [(), (0,), (1,), (0, 1)]
    seen = [np.flip(network.probability(np.flip(image, axes)), axes) for axes in views]
    averaged = network.probability(image, flips=True)
    np.testing.assert_allclose(averaged, np.mean(seen, axis=0), atol=5e-3)  # a GPU rounds otherwise
    assert np.abs(averaged - seen[0]).max() > 0.1


def test_a_path_may_begin_in_the_home_folder(small, monkeypatch):
    monkeypatch.setenv("HOME", str(small.parent))
    assert parameters(f"~/{small.name}").file == small


def test_prompts_of_one_magnification_share_one_pass(small, angiogram, monkeypatch):
    segmenter = build_segmenter(parameters(small))
    zooms = []
    asked = SegmentationNetwork.map_on_device

    def counted(self, image, zoom=1.0, flips=False):
        zooms.append(zoom)
        return asked(self, image, zoom, flips)

    monkeypatch.setattr(SegmentationNetwork, "map_on_device", counted)
    segmenter.probabilities(angiogram.image, list(PROMPTS))
    assert zooms == [1, 1.5]


@pytest.mark.parametrize("shape", [(50, 70), (200, 90, 3), (17, 300)])
def test_maps_have_the_size_of_the_image(small, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    maps = build_segmenter(parameters(small)).probabilities(image, ["branches", "tree"])
    assert maps.shape == (2, *shape[:2])
    assert maps.dtype == np.float32
    assert ((maps >= 0) & (maps <= 1)).all()


def test_a_black_image_has_maps_too(small):
    maps = build_segmenter(parameters(small)).probabilities(np.zeros((64, 64), np.uint8), ["tree"])
    assert np.isfinite(maps).all()


@pytest.mark.parametrize(
    ("image", "prompt", "words"),
    [
        (np.zeros((8, 8), np.uint8), "veins", "Unknown prompt 'veins'"),
        (np.zeros((8, 8), np.float32), "tree", "expected uint8"),
        (np.zeros((8, 8, 4), np.uint8), "tree", "shape (8, 8, 4)"),
    ],
)
def test_what_cannot_be_segmented_is_said(small, image, prompt, words):
    with pytest.raises(VesselrlError) as caught:
        build_segmenter(parameters(small)).probabilities(image, [prompt])
    assert words in str(caught.value)


def test_other_weights_are_other_parameters_and_another_path_is_not(small, tmp_path):
    before = parameters(small).model_dump(mode="json")
    copy = tmp_path / "patient-name.safetensors"
    copy.write_bytes(small.read_bytes())
    assert parameters(copy).model_dump(mode="json") == before
    network = load_weights(small)
    with torch.no_grad():
        next(network.module.parameters()).add_(1)
    save_weights(small, network)
    assert parameters(small).model_dump(mode="json") != before


def test_a_missing_file_of_weights_is_named(tmp_path):
    with pytest.raises(ValidationError, match="there is no file .*gone.safetensors"):
        parameters(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("change", [{"operating_point": 1}, {"zoom": 0}, {"scales": [1]}])
def test_a_prompt_out_of_range_is_refused(change):
    prompts = {"tree": {"operating_point": 0.5, "zoom": 1, **change}}
    with pytest.raises(ValidationError, match=next(iter(change))):
        parameters(prompts=prompts)


def network_of(max_side):
    architecture = Architecture(1, (4, 4, 4, 4, 4, 4), 1)
    return SegmentationNetwork(architecture.build(3).eval(), architecture, max_side)


@pytest.mark.parametrize("zoom", [1.3, 2.0])
def test_magnified_an_image_shows_the_pixels_that_it_lost_when_it_was_reduced(zoom):
    stripes = np.zeros((256, 192), np.uint8)
    stripes[:, ::2] = 200  # gone where the image is reduced to half
    seen = network_of(128).logits(stripes, zoom=zoom)
    assert seen.shape[1:] == reduced_size(256, 192, round(128 * zoom))
    torch.testing.assert_close(seen, network_of(round(128 * zoom)).logits(stripes))


def test_between_the_two_sizes_an_image_is_magnified_from_all_the_pixels_it_has():
    stripes = np.zeros((160, 120), np.uint8)
    stripes[:, ::2] = 200
    seen = network_of(128).logits(stripes, zoom=2)  # to 256 × 192
    whole = torch.from_numpy(grey(stripes))[None, None]
    larger = functional.interpolate(whole, (256, 192), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        expected = network_of(256).module(normalised(larger[0])[None])[:, 0]
    torch.testing.assert_close(seen, expected, rtol=0, atol=0)


@pytest.mark.parametrize("zoom", [0.75, 1.3])
@pytest.mark.parametrize("max_side", [160, 320])
def test_an_image_that_is_not_reduced_is_magnified_as_it_is(angiogram, zoom, max_side):
    size = round(160 * zoom)
    whole = torch.from_numpy(grey(angiogram.image))[None, None]
    larger = functional.interpolate(whole, (size, size), mode="bilinear", align_corners=False)
    network = network_of(max_side)
    ready = padded(normalised(larger[0])[None], network.architecture.stride)
    with torch.inference_mode():
        expected = network.module(ready)[:, 0, :size, :size]
    torch.testing.assert_close(network.logits(angiogram.image, zoom=zoom), expected, rtol=0, atol=0)


def test_under_a_low_magnification_a_reduced_image_is_reduced_further():
    image = np.random.default_rng(0).integers(0, 256, (200, 300)).astype(np.uint8)
    reduced_once = (reduced(grey(image), 100) * 255).round().astype(np.uint8)
    found = network_of(100).logits(image, zoom=0.5)
    assert found.shape == (1, 34, 50)
    torch.testing.assert_close(
        found, network_of(100).logits(reduced_once, zoom=0.5), atol=0.05, rtol=0.05
    )
