"""Low-rank adapters of a Sa2VA model's mask decoder, in the format of ``peft``.

Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022, arXiv:2106.09685: beside
a frozen matrix W two small ones are learned, and ``W + alpha / rank B A`` stands in its place. B
begins as zero, so the start is the model itself. Adapted are the attention of SAM 2's mask decoder
and the projection of ``[SEG]`` (``text_hidden_fcs``), all else stays as it was.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically
from vesselrl.segmenters.sa2va.identity import ADAPTER_CONFIG, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)

BASE = "base_model"
"""The key of the weights file's metadata under which `identity_of` the adapted model is."""
GROUPS = "groups"
"""Likewise of the hashes of the groups that adapters learned from, as JSON."""
ATTENTION = r"grounding_encoder\.sam2_model\.sam_mask_decoder\.transformer\..*\.(q|k|v|out)_proj"
PROJECTION = r"text_hidden_fcs\.\d+"


class Adapters(NamedTuple):
    """Trained adapters.

    Attributes:
        weights: name, as ``peft`` stores it → float32 tensor on the CPU.
        config: of ``peft``, plain values.
        base: what tells the adapted model from others, see `Sa2vaParameters.weights`.
        groups: that they learned from, see `vesselrl.samples.group_hashes`.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    base: str
    groups: Sequence[str] = ()


def _peft() -> Any:
    """The package.

    Raises:
        VesselrlError: it is missing.
    """
    try:
        import peft
    except ImportError as error:
        raise VesselrlError('Adapters need peft: pip install "vesselrl[sa2va]"') from error
    return peft


def attach(decoder: nn.Module, rank: int, alpha: float, seed: int) -> "PeftModel":
    """Put new adapters beside the weights of a decoder, which is changed in place.

    Args:
        decoder: whose modules are named as in the whole model.
        rank: of the adapters.
        alpha: they count ``alpha / rank`` times.
        seed: of the matrices A.

    Returns:
        The decoder with adapters, in float32, the only weights with a gradient.

    Raises:
        VesselrlError: there is no attention or no projection under the names that Sa2VA has.
    """
    peft = _peft()
    linear = [name for name, one in decoder.named_modules() if isinstance(one, nn.Linear)]
    for pattern in (ATTENTION, PROJECTION):
        if not any(re.fullmatch(pattern, name) for name in linear):
            raise VesselrlError(
                f"The model has no linear layers named {pattern}: it is built otherwise than the "
                "published Sa2VA models, and its mask decoder cannot be adapted."
            )
    places = [name.rpartition(".")[2] for name in linear if re.fullmatch(PROJECTION, name)]
    targets = rf"{ATTENTION}|text_hidden_fcs\.({'|'.join(places)})"
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0, bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return peft.get_peft_model(decoder, config).eval()


def adapters_of(model: "PeftModel", base: str) -> Adapters:
    """The adapters of a decoder as they are now."""
    config = json.loads(json.dumps(model.peft_config["default"].to_dict(), default=_plain))
    weights = _peft().get_peft_model_state_dict(model)
    return Adapters({key: one.detach().cpu().clone() for key, one in weights.items()}, config, base)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(value)


def weights_of(model: "PeftModel", adapters: Adapters) -> dict[str, Tensor]:
    """Weights of adapters under the names, and where, a decoder has its own; see `attach`."""
    return {
        name: adapters.weights[name.replace(".default.", ".")].to(one.device)
        for name, one in model.named_parameters()
        if one.requires_grad
    }


def save_adapters(folder: Path, adapters: Adapters) -> None:
    """Write a folder as ``peft`` reads it, each file whole or not at all, the weights last."""
    from safetensors.torch import save

    text = json.dumps(adapters.config, indent=1, sort_keys=True)
    content = save(
        {key: one.contiguous() for key, one in adapters.weights.items()},
        metadata={"format": "pt", BASE: adapters.base, GROUPS: json.dumps([*adapters.groups])},
    )
    write_atomically(folder / ADAPTER_CONFIG, lambda stream: stream.write(text.encode()))
    write_atomically(folder / ADAPTER_WEIGHTS, lambda stream: stream.write(content))


def read_adapters(folder: Path) -> Adapters:
    """What `save_adapters`, or ``peft`` itself, wrote.

    Raises:
        VesselrlError: there is no such folder, or a file of it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        groups = json.loads(metadata.get(GROUPS, "[]"))
    except (OSError, ValueError, SafetensorError) as error:
        raise VesselrlError(
            f"{folder} holds no adapters that can be read ({error}); expected {ADAPTER_CONFIG} and "
            f"{ADAPTER_WEIGHTS}, as the pipeline sa2va_rl writes them."
        ) from error
    if not isinstance(config, Mapping) or config.get("peft_type") != "LORA":
        raise VesselrlError(
            f"{folder / ADAPTER_CONFIG} is not of adapters of the kind LORA; expected what the "
            "pipeline sa2va_rl or peft writes."
        )
    if config.get("megatron_config"):  # peft would import the module that stands beside it
        raise VesselrlError(
            f"{folder / ADAPTER_CONFIG} has a megatron_config, which no adapters of vesselrl have "
            "and which lets a file say what code is imported: remove it if you trust the rest."
        )
    return Adapters(weights, dict(config), metadata.get(BASE, ""), groups)


def merge_into(model: Any, folder: Path, base: str) -> Any:
    """A model with adapters taken into its weights, as if it had been trained whole.

    Args:
        model: the whole one; it is changed.
        folder: of the adapters.
        base: what tells the model from others.

    Raises:
        VesselrlError: see `read_adapters`; they are of another model or do not fit this one.
    """
    peft, adapters = _peft(), read_adapters(folder)
    if adapters.base and adapters.base != base:
        raise VesselrlError(
            f"The adapters in {folder} were trained on another model ({adapters.base}) than "
            f"segmenter.path is ({base}): name the model that they belong to."
        )
    try:
        config = peft.LoraConfig(**{**adapters.config, "inference_mode": True})
        adapted = peft.get_peft_model(model, config)
        found = peft.set_peft_model_state_dict(adapted, adapters.weights)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise VesselrlError(f"The adapters in {folder} do not fit the model: {reason}") from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    if strangers := [*found.unexpected_keys, *missing]:
        raise VesselrlError(
            f"The adapters in {folder} do not fit the model: {strangers[0]} is only in one of them."
        )
    logger.info("Took the adapters in %s into the model's weights.", folder)
    return adapted.merge_and_unload(safe_merge=True)
