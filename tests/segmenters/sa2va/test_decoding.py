"""The mask decoder by itself gives what the whole model answers, and lets gradients through."""

import numpy as np
import pytest
import torch
from kedro.io import DatasetError
from stand_in import ANSWERED, build, parameters_of

from vesselrl.datasets.tensors import TensorsDataset
from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.sa2va.decoding import (
    Encoded,
    MaskDecoder,
    load_decoder,
    map_of,
    merged_logits,
)
from vesselrl.segmenters.sa2va.encoding import Encoder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("prompt", ANSWERED)
def test_from_what_was_kept_the_decoder_answers_as_the_whole_model(
    folders, family, image, dtype, prompt
):
    parameters = parameters_of(folders[family], dtype=dtype)
    (whole,) = build_segmenter(parameters).probabilities(image, [prompt])
    encoded = Encoder(parameters, prompt)(image)
    assert encoded.objects == {"three": 3, "none": 0, "last": 0}.get(prompt, 1)
    logits = encoded.start
    if encoded.objects:
        with torch.no_grad():
            logits = load_decoder(parameters)(encoded.features, encoded.hidden)
        torch.testing.assert_close(logits, encoded.start, rtol=0, atol=0)
    np.testing.assert_allclose(map_of(logits, encoded, "union"), whole, atol=1e-6)


def test_what_is_kept_survives_a_file(folders, image, tmp_path):
    encoded = Encoder(parameters_of(folders["qwen3"], dtype="bfloat16"), "three")(image)
    dataset = TensorsDataset(filepath=str(tmp_path / "a.safetensors"))
    dataset.save(encoded.tensors())
    again = Encoded.of(dataset.load())
    pairs = zip((*again.features, *again[1:3]), (*encoded.features, *encoded[1:3]), strict=True)
    for ours, theirs in pairs:
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert again[3:] == encoded[3:]
    assert encoded.nbytes == sum(one.nbytes for one in (*encoded.features, *encoded[1:3]))


def test_a_file_of_tensors_that_was_cut_off_is_told(tmp_path):
    file = tmp_path / "a.safetensors"
    dataset = TensorsDataset(filepath=str(file))
    dataset.save({"a": torch.zeros(100)})
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DatasetError, match="is damaged.*makes it again"):
        dataset.load()


def test_the_encoders_run_once_an_image_however_many_objects(folders, image):
    encoder = Encoder(parameters_of(folders["internvl"]), "three")
    counted = [one for one in encoder._loaded.model.modules() if hasattr(one, "runs")]
    encoder(image)
    encoder(255 - image)
    assert [one.runs for one in counted] == [2, 2]


def test_the_decoder_is_frozen_and_comes_without_encoders_and_language_model(folders):
    decoder = load_decoder(parameters_of(folders["internvl"]))
    assert not any(one.requires_grad for one in decoder.parameters())
    assert not any(one.training for one in decoder.modules())
    whole = build_segmenter(parameters_of(folders["internvl"]))._loaded.model
    left_out = {name.split(".")[0] for name, _ in whole.named_parameters()} - {
        name.split(".")[0] for name, _ in decoder.named_parameters()
    }
    assert {"language_layers", "vision_model", "words"} <= left_out
    assert not any("image_encoder" in name for name, _ in decoder.named_parameters())


def test_to_load_a_decoder_the_users_word_is_needed_too(folders):
    with pytest.raises(VesselrlError, match="trust_remote_code=true"):
        load_decoder(parameters_of(folders["internvl"], trust_remote_code=False))


@pytest.mark.parametrize("config", [{"gives_maps": True}, {"processes_masks": True}])
def test_a_model_whose_map_is_not_its_decoders_is_refused(tmp_path, image, config):
    parameters = parameters_of(build(tmp_path / "model", "internvl", **config))
    if "gives_maps" in config:
        with pytest.raises(VesselrlError, match="decoder's differ by 0"):
            Encoder(parameters, "vessels")(image)
    else:  # its masks are processed, its maps are the decoder's: as the segmenter has it
        assert Encoder(parameters, "vessels")(image).objects == 1


def test_a_model_without_the_way_for_gradients_is_refused():
    with pytest.raises(VesselrlError, match="no inject_language_embd"):
        MaskDecoder(torch.nn.Linear(2, 2))


def test_an_odd_image_is_refused(folders):
    with pytest.raises(VesselrlError, match="cannot be segmented"):
        Encoder(parameters_of(folders["internvl"]), "vessels")(np.zeros((4, 4, 4), np.uint8))


@pytest.mark.parametrize(("merge", "expected"), [("union", 3.0), ("first", -1.0), ("largest", 2.0)])
def test_objects_become_one_map_of_logits_as_the_parameters_say(merge, expected):
    logits = torch.tensor([-1.0, 3.0, 2.0])[:, None, None].expand(3, 4, 4)
    start = torch.full((3, 4, 4), -1.0)
    start[2, :2] = 1.0
    encoded = Encoded((), torch.zeros(3, 1), start, 4, (4, 4), 0.0)
    merged = merged_logits(logits, encoded, merge)
    assert torch.equal(merged, torch.full((4, 4), expected))
