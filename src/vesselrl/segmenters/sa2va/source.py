"""Where a model lies, and what is known of it before any of its code runs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from vesselrl.errors import VesselrlError
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters

VERSIONS = ">=4.57.1,<5"
"""Of transformers. On 5 the models based on Qwen3-VL give other masks, without an error."""
INTERNLM2_VERSIONS = ">=4.49,<4.50"
"""The code of models whose language model is InternLM2 runs on no newer ones."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MODEL_CLASSES = ("AutoModelForCausalLM", "AutoModel")
"""Under these names of ``auto_map`` a folder tells the class of its model."""


@dataclass(frozen=True)
class Source:
    """A model's folder, or its place on the hub.

    Attributes:
        path: the folder, or the id on the hub.
        revision: the commit on the hub; None for a folder.
        model_class: ``module.Class`` in the code that comes with the model.
    """

    path: str
    revision: str | None
    model_class: str

    @property
    def place(self) -> dict[str, Any]:
        """Arguments that tell transformers' ``from_pretrained`` where the model is."""
        return {"pretrained_model_name_or_path": self.path, "revision": self.revision or "main"}


def find_source(parameters: Sa2vaParameters) -> Source:
    """Check what can be checked without running the model's code.

    Raises:
        VesselrlError: there is no such folder, the commit on the hub is not pinned, it is no model
            that brings its own code, its code may not be run, or it needs another version of
            transformers.
    """
    path, config = _read_config(parameters)
    classes = config.get("auto_map") or {}
    model_class = next((classes[name] for name in MODEL_CLASSES if name in classes), None)
    if model_class is None or "AutoConfig" not in classes:
        architecture = ", ".join(config.get("architectures") or ["not named"])
        raise VesselrlError(
            f"{path} is no Sa2VA model: its config.json names no model code of its own (auto_map); "
            f"its architecture is {architecture}."
        )
    check_version(config, transformers.__version__)
    if not parameters.trust_remote_code:
        raise VesselrlError(
            f"A Sa2VA model brings its own Python code ({model_class} in {path}), which runs with "
            "all your rights: if you trust where it comes from, say so with "
            "--params segmenter.trust_remote_code=true"
        )
    return Source(path, parameters.revision, str(model_class))


def check_version(config: dict[str, Any], installed: str) -> None:
    """Refuse a version of transformers that a model's code does not run on, or not rightly.

    Args:
        config: the model's ``config.json``.
        installed: the version of transformers.

    Raises:
        VesselrlError: see above.
    """
    language_model = config.get("llm_config") or {}
    internlm2 = "InternLM2ForCausalLM" in (language_model.get("architectures") or [])
    versions = INTERNLM2_VERSIONS if internlm2 else VERSIONS
    if Version(installed) not in SpecifierSet(versions, prereleases=True):
        whose = "Sa2VA models whose language model is InternLM2 run" if internlm2 else "Sa2VA runs"
        raise VesselrlError(
            f"{whose} on transformers {versions}; installed is {installed}, on which they fail or "
            f"give other masks: pip install 'transformers{versions}' (see docs/sa2va.md)."
        )


def _read_config(parameters: Sa2vaParameters) -> tuple[str, dict[str, Any]]:
    """The path that transformers is given, and what the model's ``config.json`` says."""
    folder = Path(parameters.path).expanduser()
    if folder.is_dir():
        file = folder / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise VesselrlError(
                f"{folder} is no Sa2VA model: it has no config.json; expected the folder that "
                "from_pretrained would load, with weights, tokenizer and code."
            ) from error
        except ValueError as error:
            raise VesselrlError(f"{file} cannot be read: {error}; expected JSON.") from error
        if not isinstance(config, dict):
            raise VesselrlError(f"{file} holds no settings; expected a JSON object.")
        return str(folder), config
    if not HUB_ID.fullmatch(parameters.path):
        raise VesselrlError(
            f"segmenter.path is {parameters.path}: there is no such folder; expected that of the "
            "model, or its id on the Hugging Face hub, as in ByteDance/Sa2VA-4B."
        )
    if parameters.revision is None:
        raise VesselrlError(
            f"segmenter.path is {parameters.path}, which is no folder here; a model of the hub "
            "needs a pinned commit, so that no other code runs tomorrow: "
            "--params segmenter.revision=<commit>"
        )
    try:
        config, _ = transformers.PretrainedConfig.get_config_dict(
            parameters.path, revision=parameters.revision
        )
    except OSError as error:
        reason = " ".join(str(error).split())
        raise VesselrlError(
            f"{parameters.path} at {parameters.revision} cannot be had from the hub: {reason}"
        ) from error
    return parameters.path, dict(config)
