"""The encoders run once an image, and nothing of a model or of torch stays replaced."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from stand_in import ANSWERED, parameters_of

from vesselrl.segmenters.base import PromptsFailed, build_segmenter
from vesselrl.segmenters.sa2va.encoders import encoder_places, preparation_places

ELEVEN = {f"prompt {n}": {"text": f"Please segment {n}."} for n in range(11)}


def encoders(segmenter):
    model = segmenter._loaded.model
    found = [one for one in model.modules() if hasattr(one, "runs")]
    assert len(found) == 2
    return found


def state_of(segmenter):
    """What the methods that are replaced for a while are now."""
    model = segmenter._loaded.model
    places = [
        *encoder_places(model),
        *preparation_places(model, segmenter._loaded.helpers.get("processor")),
        (model.grounding_encoder, "language_embd_inference"),
        (model.grounding_encoder.sam2_model, "init_state"),
    ]
    instances = [name in vars(owner) for owner, name in places]
    return instances, torch.Tensor.cuda, "cuda" in vars(torch.Tensor), torch.nn.Module.cuda


def test_eleven_prompts_about_an_image_cost_one_pass_of_each_encoder(folders, family, image):
    parameters = parameters_of(folders[family], prompts=ELEVEN, default_prompt="prompt 0")
    segmenter = build_segmenter(parameters)
    segmenter.probabilities(image, list(ELEVEN))
    assert [one.runs for one in encoders(segmenter)] == [1, 1]
    assert segmenter.encoder_passes == 1
    segmenter.probabilities(255 - image, list(ELEVEN))
    assert [one.runs for one in encoders(segmenter)] == [2, 2]
    assert segmenter.encoder_passes == 2


def test_an_image_is_prepared_once_for_all_prompts(folders, family, image, monkeypatch):
    segmenter = build_segmenter(
        parameters_of(folders[family], prompts=ELEVEN, default_prompt="prompt 0")
    )
    resized = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *args, **kwargs: resized.append(1) or resize(*args, **kwargs)
    )
    segmenter.probabilities(image, list(ELEVEN))
    assert len(resized) == 2  # for the encoder of SAM 2 and for that of the language model
    segmenter.probabilities(255 - image, list(ELEVEN))
    assert len(resized) == 4


def test_what_the_model_writes_into_a_prepared_image_is_not_remembered(segmenter, image):
    memory, sam = segmenter._memory, segmenter._loaded.model.grounding_encoder
    pixels = torch.from_numpy(image).permute(2, 0, 1).float()
    with memory.in_use():
        first = sam.preprocess_image(pixels)
        kept = first.clone()
        first += 1
        assert torch.equal(sam.preprocess_image(pixels), kept)
        pixels += 1
        assert not torch.equal(sam.preprocess_image(pixels), kept)


def test_prompts_asked_one_by_one_cost_one_pass_too(segmenter, image):
    together = segmenter.probabilities(image, ANSWERED)
    for number, name in enumerate(ANSWERED):
        np.testing.assert_array_equal(segmenter.probabilities(image, [name])[0], together[number])
    assert segmenter.encoder_passes == 1


def test_an_answer_does_not_depend_on_what_was_asked_before(folders, family, image):
    one, other = (build_segmenter(parameters_of(folders[family])) for _ in range(2))
    forth = one.probabilities(image, ANSWERED)
    back = other.probabilities(image, ANSWERED[::-1])
    np.testing.assert_array_equal(forth, back[::-1])


def test_an_encoder_that_is_given_something_else_runs_again(segmenter):
    memory, (owner, name) = segmenter._memory, encoder_places(segmenter._loaded.model)[0]
    images = torch.zeros(1, 3, 32, 32)
    with memory.in_use(), torch.inference_mode():
        first = getattr(owner, name)(images)["backbone_fpn"][0]
        again = getattr(owner, name)(images.clone())["backbone_fpn"][0]
        images += 1  # in place: what was given earlier is remembered as it was
        other = getattr(owner, name)(images)["backbone_fpn"][0]
    assert again is first
    assert not torch.equal(other, first)


@pytest.mark.parametrize("prompts", [["vessels"], ["broken"], ["vessels", "broken"]])
def test_afterwards_everything_is_as_it_was(segmenter, image, prompts):
    before = state_of(segmenter)
    try:
        segmenter.probabilities(image, prompts)
    except PromptsFailed:
        assert "broken" in prompts
    assert state_of(segmenter) == before


def test_an_interruption_leaves_everything_as_it_was(segmenter, image, monkeypatch):
    before = state_of(segmenter)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(segmenter._loaded.model), "answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            segmenter.probabilities(image, ["vessels"])
    assert state_of(segmenter) == before
    assert segmenter.probabilities(image, ["vessels"]).any()


def test_several_threads_get_what_one_gets(folders, image):
    segmenters = [build_segmenter(parameters_of(folders[name])) for name in ("internvl", "qwen3")]
    images = [np.roll(image, 5 * n, axis=1) for n in range(6)]
    jobs = [(segmenter, one) for one in images for segmenter in segmenters]

    def ask(job):
        return job[0].probabilities(job[1], ["vessels", "three"])

    alone = [ask(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, jobs))
    np.testing.assert_array_equal(together, alone)
    assert "cuda" not in vars(torch.Tensor)
