"""Which models are loaded, and the sentence that says why another is not."""

import inspect
import json
import shutil
import sys
import types

import numpy as np
import pytest
import torch
import transformers
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from stand_in import build, parameters_of

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.base import build_segmenter
from vesselrl.segmenters.sa2va import loading
from vesselrl.segmenters.sa2va.identity import identity_of
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters
from vesselrl.segmenters.sa2va.source import check_version
from vesselrl.segmenters.sa2va.spreading import shares


@pytest.fixture
def copied(tmp_path, folders):
    """A folder of one's own to spoil."""
    return shutil.copytree(folders["internvl"], tmp_path / "sa2va_vessel_hf")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refusal(path, **changes):
    with pytest.raises(VesselrlError) as raised:
        build_segmenter(parameters_of(path, **changes))
    text = str(raised.value)
    assert "\n" not in text
    return text


def change_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_without_the_users_word_no_code_of_a_model_runs(copied):
    (copied / "modeling_stand_in.py").write_text("raise SystemExit('it ran')\n")
    text = refusal(copied, trust_remote_code=False)
    assert "segmenter.trust_remote_code=true" in text
    assert "runs with all your rights" in text
    with pytest.raises(SystemExit, match="it ran"):
        build_segmenter(parameters_of(copied))


def test_the_users_word_is_not_taken_for_granted_but_in_the_environment_that_asks_for_it(project):
    assert Sa2vaParameters.model_fields["trust_remote_code"].default is False
    settings = yaml.safe_load((project / "conf/sa2va/parameters_segment.yml").read_text())
    assert settings["segmenter"]["trust_remote_code"] is True


@pytest.mark.parametrize("name", ["AutoModel", "AutoModelForCausalLM"])
def test_a_model_is_found_under_either_name(copied, name):
    code = {
        "AutoConfig": "configuration_stand_in.StandInConfig",
        name: "modeling_stand_in.StandInInternVL",
    }
    change_config(copied, auto_map=code)
    model = build_segmenter(parameters_of(copied))._loaded.model
    assert type(model).__name__ == "StandInInternVL"


def test_a_code_package_that_is_missing_is_named_with_the_extra_that_brings_it(tmp_path):
    folder = build(tmp_path / "needing", "internvl", imports="no_such_package")
    text = refusal(folder)
    assert "(no_such_package)" in text
    assert 'pip install "vesselrl[sa2va]"' in text


def test_code_and_packages_that_do_not_fit_are_told_with_what_is_missing(copied):
    code = copied / "modeling_stand_in.py"
    code.write_text(f"from transformers import NoSuchModel\n{code.read_text()}")
    text = refusal(copied)
    assert "do not fit: cannot import name 'NoSuchModel' from 'transformers'" in text


@pytest.mark.parametrize("installed", ["4.49.0", "4.57.0", "5.0.0", "5.1.2"])
def test_another_version_of_transformers_is_refused(folders, monkeypatch, installed):
    monkeypatch.setattr(transformers, "__version__", installed)
    text = refusal(folders["qwen3"])
    assert f"Sa2VA runs on transformers >=4.57.1,<5; installed is {installed}" in text
    assert "pip install 'transformers>=4.57.1,<5'" in text


def test_models_with_internlm2_need_their_older_transformers():
    config = {"llm_config": {"architectures": ["InternLM2ForCausalLM"]}}
    check_version(config, "4.49.0")
    with pytest.raises(VesselrlError, match=r"InternLM2 run on transformers >=4.49,<4.50; inst"):
        check_version(config, "4.57.6")


def test_a_folder_that_is_no_sa2va_is_told_from_its_files(tmp_path, copied):
    assert "there is no such folder" in refusal(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "it has no config.json" in refusal(tmp_path / "empty")
    change_config(copied, auto_map={}, architectures=["LlamaForCausalLM"])
    assert "its architecture is LlamaForCausalLM" in refusal(copied)
    (copied / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(copied)
    (copied / "config.json").write_text("[]")
    assert "expected a JSON object" in refusal(copied)


def test_a_model_with_code_that_is_no_sa2va_is_told_before_its_weights_are_read(copied):
    (copied / "model.safetensors").unlink()
    assert "is not complete" in refusal(copied)
    settings = "configuration_stand_in.StandInConfig"
    code = {"AutoConfig": settings, "AutoModel": "modeling_stand_in.StandIn"}
    change_config(copied, auto_map=code)
    assert "its class StandIn has no predict_forward" in refusal(copied)


def cut(file):
    file.write_bytes(file.read_bytes()[:-8])


def point(file):
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize("spoil", [cut, point])
def test_weights_that_were_not_downloaded_whole_are_told(copied, spoil):
    spoil(copied / "model.safetensors")
    assert f"{copied} is not complete" in refusal(copied)
    with pytest.raises(VesselrlError, match="model.safetensors has .* bytes and is no whole file"):
        parameters_of(copied).model_dump()


def test_a_folder_without_tokenizer_is_not_complete(tmp_path, folders, family):
    copied = shutil.copytree(folders[family], tmp_path / "without_tokenizer")
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (copied / file).unlink()
    text = refusal(copied)
    assert f"{copied} is not complete: its tokenizer cannot be loaded" in text
    assert len(text) < 400


def test_a_model_of_the_hub_needs_a_pinned_commit():
    text = refusal("ByteDance/Sa2VA-4B")
    assert "segmenter.revision=<commit>" in text


def test_a_model_of_the_hub_is_asked_for_at_its_commit(monkeypatch):
    asked = {}

    def unreachable(path, **given):
        asked.update(given, path=path)
        raise OSError("the hub\ncannot be reached")

    monkeypatch.setattr(transformers.PretrainedConfig, "get_config_dict", unreachable)
    text = refusal("ByteDance/Sa2VA-4B", revision=COMMIT)
    assert asked == {"path": "ByteDance/Sa2VA-4B", "revision": COMMIT}
    assert "cannot be had from the hub: the hub cannot be reached" in text


def test_the_helpers_are_those_that_the_model_takes(segmenter, family):
    accepted = inspect.signature(segmenter._loaded.model.predict_forward).parameters
    helpers = segmenter._loaded.helpers
    assert set(helpers) <= set(accepted)
    assert "tokenizer" in helpers
    assert ("processor" in helpers) == (family != "internvl")


def test_a_model_that_needs_a_processor_and_comes_without_is_not_complete(tmp_path, folders):
    copied = shutil.copytree(folders["qwen2.5"], tmp_path / "without_processor")
    (copied / "processor_config.json").unlink()
    assert "is not complete: it has no processor" in refusal(copied)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_has_the_dtype_that_is_asked_for_and_no_training_mode(folders, family, dtype):
    model = build_segmenter(parameters_of(folders[family], dtype=dtype))._loaded.model
    assert {one.dtype for one in model.parameters()} == {getattr(torch, dtype)}
    assert model.torch_dtype == getattr(torch, dtype)
    assert not any(module.training for module in model.modules())


def test_attention_falls_back_to_what_the_model_supports(segmenter, family):
    model = segmenter._loaded.model
    assert model.config._attn_implementation == ("sdpa" if family == "qwen3" else "eager")
    assert not getattr(model, "use_flash_attn", False)


def test_attention_that_is_asked_for_and_not_there_is_refused(folders):
    text = refusal(folders["qwen3"], attention="flash_attention_2")
    assert text.startswith("segmenter.attention is flash_attention_2, which this model cannot do")


def test_what_a_gpu_is_needed_for_is_refused_without_one(folders, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "needs an NVIDIA GPU and bitsandbytes" in refusal(folders["qwen3"], quantisation="4bit")
    assert "segmenter.device is cuda:1, and 0 GPUs" in refusal(folders["qwen3"], device="cuda:1")


@pytest.mark.parametrize(("quantisation", "bits"), [("8bit", 8), ("4bit", 4)])
def test_of_a_quantised_model_only_the_language_model_has_fewer_bits(
    folders, monkeypatch, quantisation, bits
):
    asked = {}

    def note(cls, **settings):
        asked.update(settings)
        raise VesselrlError("no GPU")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(loading, "find_spec", lambda name: name == "bitsandbytes")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.48.0")
    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(note))
    refusal(folders["qwen3"], quantisation=quantisation, device="cuda:0", dtype="bfloat16")
    config = asked["quantization_config"]
    assert (config.load_in_8bit, config.load_in_4bit) == (bits == 8, bits == 4)
    assert config.bnb_4bit_compute_dtype == asked["torch_dtype"] == torch.bfloat16
    assert {"grounding_encoder", "visual", "vision_model"} <= set(config.llm_int8_skip_modules)
    assert asked["device_map"] == {"": torch.device("cuda:0")}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"path": None}, "say where the model is: --params segmenter.path=/path/to/"),
        ({"revision": "main"}, "it is main; expected a full commit, 40 hexadecimal digits"),
        ({"prompts": {"vessels": {"text": "<image> and <image>"}}}, "stands in it 2 times"),
        ({"prompts": {"vessels": {"text": "<image>\n"}}}, "it asks nothing"),
        ({"device": "gpu"}, "device"),
        ({"quantisation": "2bit"}, "quantisation"),
        ({"merge": "mean"}, "merge"),
        ({"device": "spread", "devices": [0, 1]}, "name one of them"),
    ],
)
def test_a_wrong_parameter_is_refused_before_a_model_is_looked_for(change, named):
    with pytest.raises(ValidationError, match=named):
        parameters_of(**({"path": "x"} | change))


def test_where_a_model_lies_has_no_part_in_its_identity_but_what_it_is_has(tmp_path, copied):
    moved = shutil.copytree(copied, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    before = identity_of(str(copied), None)
    assert identity_of(str(moved), None) == before
    dump = parameters_of(copied).model_dump(mode="json")
    assert dump == parameters_of(moved, device="cuda").model_dump(mode="json")
    assert dump["weights"] == before
    weights = load_file(moved / "model.safetensors")
    trained = "text_hidden_fcs.0.weight"
    weights[trained] += 0.01 * torch.randn(weights[trained].shape)
    save_file(weights, moved / "model.safetensors", {"format": "pt"})
    assert identity_of(str(moved), None) != before
    (copied / "modeling_stand_in.py").open("a").write("# changed\n")
    assert identity_of(str(copied), None) != before


def test_a_model_of_the_hub_is_identified_by_its_commit():
    assert identity_of("owner/name", "abc") != identity_of("owner/name", "abd")


def test_over_several_gpus_only_layers_of_the_language_model_leave_the_first(segmenter):
    model = segmenter._loaded.model
    placed = shares(model, 2)
    elsewhere = [name for name, gpu in placed.items() if gpu]
    assert elsewhere
    assert all(name.startswith("language_layers.") for name in elsewhere)
    for name, _ in model.named_parameters():
        assert sum(name == place or name.startswith(f"{place}.") for place in placed) == 1


def test_layers_are_dealt_out_in_their_order_and_evenly():
    layers = torch.nn.ModuleList(torch.nn.Linear(10, 10) for _ in range(12))
    model = torch.nn.ModuleDict({"llm": torch.nn.ModuleDict({"layers": layers})})
    placed = shares(model, 4)
    gpus = [placed[f"llm.layers.{number}"] for number in range(12)]
    assert gpus == sorted(gpus)
    np.testing.assert_array_equal(np.bincount(gpus), [3, 3, 3, 3])


def test_spreading_without_accelerate_says_what_to_install(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", types.ModuleType("accelerate"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    text = refusal(folders["qwen3"], device="spread")
    assert 'needs accelerate: pip install "vesselrl[sa2va]"' in text
