"""Folders of tiny Sa2VA models, as ``from_pretrained`` loads them, with code of their own."""

import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stand_in import modeling_stand_in
from stand_in.configuration_stand_in import StandInConfig
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters

HERE = Path(__file__).parent
MODULES = [f"{part}_stand_in.py" for part in ("modeling", "configuration", "parts", "defaults")]
CLASSES = {
    "internvl": "StandInInternVL",
    "qwen2.5": "StandInQwen25",
    "qwen3": "StandInQwen3",
}
"""Family → class in ``modeling_stand_in.py``."""
TEXTS = {
    "vessels": "Please segment the blood vessels.",
    "thin": "Please segment the thin branches.",
    "three": "Please segment three objects.",
    "none": "Please segment nothing.",
    "last": "Please segment the last one.",
    "broken": "This breaks.",
}
"""Prompt → what the stand-ins are asked; see ``modeling_stand_in.py``."""
ANSWERED = [name for name in TEXTS if name != "broken"]


def parameters_of(path: Path | str | None, **changes: object) -> Sa2vaParameters:
    """Parameters of a model on the CPU, but for changes."""
    settings: dict[str, object] = {
        "kind": "sa2va",
        "path": path if path is None else str(path),
        "revision": None,
        "trust_remote_code": True,
        "dtype": "float32",
        "quantisation": "none",
        "device": "cpu",
        "attention": "auto",
        "merge": "union",
        "default_prompt": "vessels",
        "prompts": {name: {"text": text} for name, text in TEXTS.items()},
    }
    return Sa2vaParameters(**(settings | changes))


def build(folder: Path, family: str, imports: str = "", **config: object) -> Path:
    """Make the folder of a model with random weights, always the same.

    Args:
        folder: where; it is created.
        family: one of `CLASSES`.
        imports: a package that the model's code shall need.
        config: settings of ``StandInConfig``.
    """
    torch.manual_seed(0)
    model = getattr(modeling_stand_in, CLASSES[family])(StandInConfig(**config))
    model.to(torch.bfloat16).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    for name in (*MODULES, *(["processing_stand_in.py"] if family != "internvl" else [])):
        shutil.copy(HERE / name, folder)
    if imports:
        file = folder / "modeling_stand_in.py"
        file.write_text(
            file.read_text().replace("import zlib\n", f"import zlib\nimport {imports}\n")
        )
    settings = json.loads((folder / "config.json").read_text())
    settings["architectures"] = [CLASSES[family]]
    settings["auto_map"] = {
        "AutoConfig": "configuration_stand_in.StandInConfig",
        "AutoModel": f"modeling_stand_in.{CLASSES[family]}",
        "AutoModelForCausalLM": f"modeling_stand_in.{CLASSES[family]}",
    }
    (folder / "config.json").write_text(json.dumps(settings))
    if family != "internvl":
        processor = {
            "processor_class": "StandInProcessor",
            "auto_map": {"AutoProcessor": "processing_stand_in.StandInProcessor"},
        }
        (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    words = [
        "[UNK]",
        "[SEG]",
        "<IMG_CONTEXT>",
        "Please",
        "segment",
        "the",
        "blood",
        "vessels",
        "three",
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
