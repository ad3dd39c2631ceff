"""Adapters: the only weights that change, and afterwards a part of the model."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from stand_in import build, parameters_of

from vesselrl.datasets.adapters import AdaptersDataset
from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.sa2va.adapters import adapters_of, attach, read_adapters, weights_of
from vesselrl.segmenters.sa2va.decoding import load_decoder, map_of
from vesselrl.segmenters.sa2va.encoding import Encoder
from vesselrl.segmenters.sa2va.identity import ADAPTER_CONFIG, ADAPTER_WEIGHTS


def learned(parameters):
    """A decoder with adapters that are not zero any more."""
    decoder = attach(load_decoder(parameters), rank=2, alpha=4, seed=0)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in decoder.parameters():
            if one.requires_grad:
                one.add_(torch.randn(one.shape, generator=noise), alpha=0.2)
    return decoder


@pytest.fixture(scope="session")
def saved(folders, tmp_path_factory):
    """A folder of adapters, and the decoder that has them."""
    folder = tmp_path_factory.mktemp("run") / "adapters"
    parameters = parameters_of(folders["internvl"])
    decoder = learned(parameters)
    AdaptersDataset(filepath=str(folder)).save(adapters_of(decoder, parameters.base))
    return folder, decoder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "adapters")


def test_new_adapters_change_nothing(folders, family, image):
    parameters = parameters_of(folders[family])
    encoded = Encoder(parameters, "vessels")(image)
    with torch.no_grad():
        logits = attach(load_decoder(parameters), 2, 4, 0)(encoded.features, encoded.hidden)
    torch.testing.assert_close(logits, encoded.start, rtol=0, atol=0)


def test_attention_and_projection_are_adapted_and_nothing_else(folders):
    decoder = attach(load_decoder(parameters_of(folders["qwen3"], dtype="bfloat16")), 2, 4, 0)
    trained = {
        n.split(".lora_")[0]: one for n, one in decoder.named_parameters() if one.requires_grad
    }
    attention = (
        "base_model.model.grounding_encoder.sam2_model.sam_mask_decoder.transformer.layers.0"
    )
    assert set(trained) == {
        *(f"{attention}.{kind}.{part}_proj" for kind in ("cross_attn_token_to_image",
          "cross_attn_image_to_token") for part in ("q", "k", "v", "out")),
        "base_model.model.text_hidden_fcs.0", "base_model.model.text_hidden_fcs.2",
    }  # fmt: skip
    assert {one.dtype for one in trained.values()} == {torch.float32}
    assert not any(one.training for one in decoder.modules())


def test_the_gradient_reaches_the_projection_of_seg_in_every_family(folders, family, image):
    parameters = parameters_of(folders[family])
    encoded = Encoder(parameters, "three")(image)
    decoder = attach(load_decoder(parameters), 2, 4, 0)
    decoder(encoded.features, encoded.hidden).square().sum().backward()
    for name in ("text_hidden_fcs.0", "text_hidden_fcs.2"):
        (gradient,) = [
            one.grad for n, one in decoder.named_parameters() if name in n and "lora_B" in n
        ]
        assert gradient.abs().sum() > 0
    assert all(one.grad is None for one in decoder.parameters() if not one.requires_grad)


def test_the_seed_fixes_the_adapters_and_leaves_others_their_chance(folders):
    decoder, state = load_decoder(parameters_of(folders["internvl"])), torch.get_rng_state()
    found = []
    for seed in (0, 0, 1):
        attached = attach(decoder, 2, 4, seed)
        found.append([one.clone() for one in attached.parameters() if one.requires_grad])
        attached.unload()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, found[0], found[1]))
    assert not all(map(torch.equal, found[0], found[2]))


def test_a_model_that_is_built_otherwise_is_refused():
    with pytest.raises(VesselrlError, match="built otherwise than the published"):
        attach(torch.nn.Sequential(torch.nn.Linear(2, 2)), 2, 4, 0)


def test_the_model_with_saved_adapters_answers_as_the_decoder_that_learned_them(
    folders, saved, image
):
    folder, decoder = saved
    parameters = parameters_of(folders["internvl"])
    encoded = Encoder(parameters, "three")(image)
    with torch.no_grad():
        expected = map_of(decoder(encoded.features, encoded.hidden), encoded, "union")
    (plain,) = build_segmenter(parameters).probabilities(image, ["three"])
    tuned = parameters_of(folders["internvl"], adapters=str(folder))
    (found,) = build_segmenter(tuned).probabilities(image, ["three"])
    assert np.abs(plain - expected).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found > 0.5).sum() == (expected > 0.5).sum()


def test_all_weights_but_the_adapted_stay_as_they_are_bit_for_bit(folders, saved):
    plain, tuned = (
        build_segmenter(parameters_of(folders["internvl"], adapters=one))._loaded.model.state_dict()
        for one in (None, str(saved[0]))
    )
    assert plain.keys() == tuned.keys()
    changed = {name for name, one in plain.items() if not torch.equal(one, tuned[name])}
    assert len(changed) == 10
    assert all("_proj.weight" in n or n.startswith("text_hidden_fcs") for n in changed)


def test_what_is_saved_is_in_the_format_of_peft(folders, saved, image):
    from peft import PeftModel

    folder, decoder = saved
    encoded = Encoder(parameters_of(folders["internvl"]), "vessels")(image)
    theirs = PeftModel.from_pretrained(load_decoder(parameters_of(folders["internvl"])), folder)
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(encoded.features, encoded.hidden), decoder(encoded.features, encoded.hidden)
        )


def test_adapters_that_were_read_have_the_names_of_the_decoders_own(saved):
    folder, decoder = saved
    weights = weights_of(decoder, read_adapters(folder))
    own = {name: one for name, one in decoder.named_parameters() if one.requires_grad}
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)


def test_other_adapters_are_another_model_and_a_moved_folder_is_the_same(folders, saved, copied):
    def weights(adapters):
        return parameters_of(folders["internvl"], adapters=adapters).model_dump()["weights"]

    assert weights(None) != weights(str(saved[0])) == weights(str(copied))
    tensors = load_file(copied / ADAPTER_WEIGHTS)
    save_file({name: one + 1 for name, one in tensors.items()}, copied / ADAPTER_WEIGHTS)
    assert weights(str(copied)) != weights(str(saved[0]))


def refusal(folders, adapters, family="internvl"):
    with pytest.raises(VesselrlError) as raised:
        build_segmenter(parameters_of(folders[family], adapters=str(adapters)))
    return str(raised.value)


def test_adapters_of_another_model_are_refused(folders, saved):
    assert "were trained on another model" in refusal(folders, saved[0], "qwen3")


def test_adapters_of_a_larger_model_are_refused_even_if_they_do_not_say_whose_they_are(
    copied, tmp_path
):
    save_file(load_file(copied / ADAPTER_WEIGHTS), copied / ADAPTER_WEIGHTS)
    larger = build(tmp_path / "larger", "internvl", width=32)
    text = refusal({"internvl": larger}, copied)
    assert "do not fit the model" in text
    assert "\n" not in text


def test_adapters_of_which_some_are_missing_are_refused(folders, copied):
    tensors = load_file(copied / ADAPTER_WEIGHTS)
    del tensors[next(name for name in tensors if "text_hidden_fcs.2.lora_B" in name)]
    save_file(tensors, copied / ADAPTER_WEIGHTS)
    assert "text_hidden_fcs.2.lora_B" in refusal(folders, copied)


@pytest.mark.parametrize(
    ("name", "content"),
    [(ADAPTER_CONFIG, "{"), (ADAPTER_CONFIG, "[]"), (ADAPTER_WEIGHTS, "cut off")],
)
def test_damaged_adapters_are_refused(folders, copied, name, content):
    (copied / name).write_text(content)
    assert str(copied) in refusal(folders, copied)


def test_adapters_of_another_kind_are_refused(folders, copied):
    config = json.loads((copied / ADAPTER_CONFIG).read_text())
    (copied / ADAPTER_CONFIG).write_text(json.dumps(config | {"peft_type": "IA3"}))
    assert "not of adapters of the kind LORA" in refusal(folders, copied)
    to_import = {"megatron_config": {"x": 1}, "megatron_core": "antigravity"}
    (copied / ADAPTER_CONFIG).write_text(json.dumps(config | to_import))
    assert "lets a file say what code is imported" in refusal(folders, copied)


def test_a_folder_without_adapters_is_refused_when_the_parameters_are_read(folders, tmp_path):
    with pytest.raises(ValidationError, match="holds no adapters.*sa2va_rl wrote"):
        parameters_of(folders["internvl"], adapters=str(tmp_path))


def test_without_peft_it_is_said_what_to_install(folders, saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert 'pip install "vesselrl[sa2va]"' in refusal(folders, saved[0])
