"""What comes out of the maps: the model's own masks, and nothing where it answers nothing."""

import logging
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import ANSWERED, TEXTS, build, parameters_of

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import PromptsFailed, build_segmenter
from vesselrl.segmenters.checks import check_segmenter
from vesselrl.segmenters.levels import from_levels, to_levels
from vesselrl.segmenters.sa2va.maps import maps_of


def union(masks, shape):
    return np.any([mask[0] for mask in masks], axis=0) if masks else np.zeros(shape, bool)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_above_half_the_maps_are_the_masks_of_the_models_own_code_bit_for_bit(
    folders, family, image, own_masks, dtype
):
    maps = build_segmenter(parameters_of(folders[family], dtype=dtype)).probabilities(
        image, ANSWERED
    )
    texts = [TEXTS[name] for name in ANSWERED]
    own = own_masks(folders[family], Image.fromarray(image), texts, getattr(torch, dtype))
    expected = np.array([union(masks, image.shape[:2]) for masks in own])
    assert 0.02 < expected[0].mean() < 0.98
    np.testing.assert_array_equal(maps > 0.5, expected)
    np.testing.assert_array_equal(from_levels(to_levels(maps)) > 0.5, expected)


def test_it_keeps_the_contract_of_all_segmenters(folders, family):
    prompts = {name: {"text": TEXTS[name]} for name in ANSWERED}
    check_segmenter(parameters_of(folders[family], prompts=prompts))


def test_the_maps_are_probabilities_so_that_other_thresholds_give_other_masks(segmenter, image):
    maps = segmenter.probabilities(image, ["vessels"])
    assert maps.dtype == np.float32
    assert maps.shape == (1, 50, 70)
    assert len(np.unique(maps)) > 1000
    assert (maps > 0.4).sum() > (maps > 0.5).sum() > (maps > 0.6).sum()


def test_a_grey_image_is_shown_as_a_colour_image_of_three_equal_channels(segmenter, image):
    grey = image[..., 0]
    colour = np.stack([grey] * 3, axis=2)
    np.testing.assert_array_equal(
        segmenter.probabilities(grey, ["vessels"]), segmenter.probabilities(colour, ["vessels"])
    )


def test_a_logit_just_above_zero_is_no_vessel_as_in_the_models_own_masks():
    logits = torch.full((1, 1, 4, 4), 1e-9)
    own = (logits[:, 0].sigmoid() > 0.5).numpy()
    assert not own.any()
    (found,) = maps_of({"prediction_masks": [own]}, [logits], (4, 4))
    assert not (found > 0.5).any()


@pytest.mark.parametrize("prompt", ["none", "last"])
def test_an_answer_without_masks_is_a_map_of_zeros(segmenter, image, prompt):
    assert not segmenter.probabilities(image, [prompt]).any()


@pytest.mark.parametrize("merge", ["union", "first", "largest"])
def test_of_several_objects_the_map_is_made_as_the_parameters_say(folders, image, own_masks, merge):
    parameters = parameters_of(folders["internvl"], merge=merge)
    mask = build_segmenter(parameters).probabilities(image, ["three"])[0] > 0.5
    (own,) = own_masks(folders["internvl"], Image.fromarray(image), [TEXTS["three"]])
    objects = [one[0] for one in own]
    assert len(objects) == 3
    assert len({one.tobytes() for one in objects}) == 3
    expected = {
        "union": np.any(objects, axis=0),
        "first": objects[0],
        "largest": max(objects, key=np.sum),
    }
    np.testing.assert_array_equal(mask, expected[merge])


def test_maps_that_a_model_gives_itself_are_taken(tmp_path, folders, image):
    folder = build(tmp_path / "model", "internvl", gives_maps=True)
    given = build_segmenter(parameters_of(folder)).probabilities(image, ["vessels"])
    usual = build_segmenter(parameters_of(folders["internvl"])).probabilities(image, ["vessels"])
    np.testing.assert_array_equal(given, usual / 2)


def test_masks_that_do_not_fit_the_decoders_maps_are_taken_as_they_are(
    tmp_path, image, own_masks, caplog
):
    folder = build(tmp_path / "model", "internvl", masks_dropped=1)
    segmenter = build_segmenter(parameters_of(folder))
    with caplog.at_level(logging.WARNING):
        found = segmenter.probabilities(image, ["three"])[0]
    (own,) = own_masks(folder, Image.fromarray(image), [TEXTS["three"]])
    np.testing.assert_array_equal(found, union(own, image.shape[:2]).astype(np.float32))
    assert "2 masks do not fit the 3 maps" in caplog.text


def test_a_model_that_does_more_with_its_masks_is_told_of(tmp_path, folders, image, caplog):
    folder = build(tmp_path / "model", "internvl", processes_masks=True)
    segmenter = build_segmenter(parameters_of(folder))
    with caplog.at_level(logging.WARNING):
        found = segmenter.probabilities(image, ["vessels"])
    usual = build_segmenter(parameters_of(folders["internvl"])).probabilities(image, ["vessels"])
    np.testing.assert_array_equal(found, usual)
    assert "not its decoder's maps above 0.5" in caplog.text


def test_the_image_stands_once_in_what_the_model_is_asked(folders, image):
    prompts = {
        "before": {"text": "Please segment it."},
        "there": {"text": "In <image> segment it."},
    }
    parameters = parameters_of(folders["internvl"], prompts=prompts, default_prompt="before")
    maps = build_segmenter(parameters).probabilities(image, list(prompts))
    assert not np.array_equal(maps[0], maps[1])


def test_a_prompt_that_fails_leaves_the_others_their_maps(segmenter, image):
    whole = segmenter.probabilities(image, ["vessels", "thin"])
    with pytest.raises(
        PromptsFailed, match="1 of 3 prompts failed.*'broken': RuntimeError: the mo"
    ) as raised:
        segmenter.probabilities(image, ["vessels", "broken", "thin"])
    failed = raised.value
    np.testing.assert_array_equal(failed.probabilities[[0, 2]], whole)
    assert not failed.probabilities[1].any()
    assert list(failed.errors) == ["broken"]
    assert failed.errors["broken"].__traceback__ is not None


def test_what_a_prompt_that_failed_had_in_hand_is_let_go_before_the_next_is_asked(
    segmenter, image, monkeypatch
):
    held, model = [], segmenter._loaded.model

    def fail(**_):
        alive = [one for one in held if one() is not None]
        assert not alive
        features = torch.zeros(3)
        held.append(weakref.ref(features))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(model, "predict_forward", fail)
    with pytest.raises(PromptsFailed) as raised:
        segmenter.probabilities(image, ["vessels", "thin", "three"])
    assert len(held) == 6  # each once more
    assert {type(one) for one in raised.value.errors.values()} == {VesselrlError}


def test_a_model_is_asked_without_gradients(segmenter, image, monkeypatch):
    asked, model = [], segmenter._loaded.model
    answer = model.predict_forward

    def note(**given):
        asked.append(torch.is_inference_mode_enabled())
        return answer(**given)

    monkeypatch.setattr(model, "predict_forward", note)
    segmenter.probabilities(image, ["vessels"])
    assert asked == [True]


@pytest.mark.parametrize(
    ("prompt", "shape", "named"),
    [
        ("liver", (50, 70), "Unknown prompt 'liver'; the segmenter's prompts are vessels, thin"),
        ("vessels", (50, 70, 4), "uint8 and shape \\(50, 70, 4\\)"),
    ],
)
def test_an_unknown_prompt_or_an_odd_image_is_refused_before_the_model_is_asked(
    segmenter, prompt, shape, named
):
    with pytest.raises(VesselrlError, match=named):
        segmenter.probabilities(np.zeros(shape, np.uint8), [prompt])
    assert segmenter.encoder_passes == 0


class OutOfMemory:
    """Lets a model run out of memory a few times, and counts how much it holds then."""

    def __init__(self, segmenter, monkeypatch, times, error=None):
        self.model, self.left, self.kept = segmenter._loaded.model, times, []
        self.segmenter, predict = segmenter, self.model.predict_forward

        def fail(**given):
            if self.left:
                self.left -= 1
                raise error or torch.OutOfMemoryError("CUDA out of memory. Short of 2 GiB.")
            self.kept.append(len(segmenter._memory._kept))
            return predict(**given)

        monkeypatch.setattr(self.model, "predict_forward", fail)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_memory_that_is_short_once_is_freed_and_the_answer_is_the_same(
    segmenter, image, monkeypatch, caplog, error
):
    whole = segmenter.probabilities(image, ["vessels", "thin"])
    short = OutOfMemory(segmenter, monkeypatch, 1, error)
    with caplog.at_level(logging.WARNING):
        again = segmenter.probabilities(image, ["vessels", "thin"])
    np.testing.assert_array_equal(again, whole)
    assert short.kept[0] == 0  # nothing of the image was held on to
    assert "trying again" in caplog.text


def test_memory_that_stays_short_is_an_error_that_says_what_needs_less(
    segmenter, image, monkeypatch
):
    OutOfMemory(segmenter, monkeypatch, 2)
    with pytest.raises(PromptsFailed) as raised:
        segmenter.probabilities(image, ["vessels", "thin"])
    error = raised.value.errors["vessels"]
    assert isinstance(error, VesselrlError)
    assert "an image of 70 × 50 pixels: segmenter.quantisation=8bit or 4bit" in str(error)
    assert raised.value.probabilities[1].any()
