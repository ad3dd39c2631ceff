"""A model and what it needs to be asked, loaded with the code that comes with it."""

import inspect
import logging
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from vesselrl.devices import best_device
from vesselrl.errors import VesselrlError
from vesselrl.segmenters.sa2va.adapters import merge_into
from vesselrl.segmenters.sa2va.borrowing import replaced
from vesselrl.segmenters.sa2va.parameters import Sa2vaParameters
from vesselrl.segmenters.sa2va.source import Source, find_source
from vesselrl.segmenters.sa2va.spreading import device_map

logger = logging.getLogger(__name__)

KEPT_WHOLE = [
    "grounding_encoder", "text_hidden_fcs", "vision_model", "mlp1", "visual", "lm_head", "output",
]  # fmt: skip
"""Modules that are not quantised: all but the layers of the language model."""


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to be asked.

    Attributes:
        model: with ``predict_forward``, in evaluation mode.
        helpers: the arguments of ``predict_forward`` beside image and text: tokenizer, processor.
        device: where images and texts go.
        dtype: of its weights.
    """

    model: Any
    helpers: dict[str, Any]
    device: torch.device
    dtype: torch.dtype


def load(parameters: Sa2vaParameters) -> Loaded:
    """Load a model as its parameters say.

    Raises:
        VesselrlError: see `vesselrl.segmenters.sa2va.source.find_source`; a package is missing, or
            there is no such device.
    """
    source = find_source(parameters)
    device = device_of(parameters)
    dtype: torch.dtype = getattr(torch, parameters.dtype)
    logger.warning(
        "Running the Python code that comes with %s (segmenter.trust_remote_code).", source.path
    )
    with _readable_errors(source):
        # first the settings: transformers finds what their code needs, not what the model's needs
        config = transformers.AutoConfig.from_pretrained(**source.place, trust_remote_code=True)
        model_class = get_class_from_dynamic_module(source.model_class, **source.place)
        if not hasattr(model_class, "predict_forward"):
            raise VesselrlError(
                f"{source.path} is no Sa2VA model: its class {model_class.__name__} has no "
                "predict_forward."
            )
        model = _load_weights(source, model_class, config, parameters, device, dtype).eval()
        helpers = _helpers(source, model)
    if parameters.adapters is not None:
        model = merge_into(model, Path(parameters.adapters).expanduser(), parameters.base)
    _prepare(model, helpers, dtype)
    return Loaded(model, helpers, device, dtype)


def device_of(parameters: Sa2vaParameters) -> torch.device:
    """Where images and texts go.

    Raises:
        VesselrlError: there is no such device, or none on which weights can be quantised.
    """
    wanted = parameters.device
    device = (
        best_device() if wanted is None else torch.device("cuda" if wanted == "spread" else wanted)
    )
    if device.type == "mps":  # the code that comes with the models knows nothing of it
        device = torch.device("cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise VesselrlError(
            f"segmenter.device is {wanted}, and {torch.cuda.device_count()} GPUs are there."
        )
    if parameters.quantisation != "none" and (
        device.type != "cuda" or not find_spec("bitsandbytes")
    ):
        raise VesselrlError(
            f"segmenter.quantisation is {parameters.quantisation}, which needs an NVIDIA GPU and "
            "bitsandbytes (pip install bitsandbytes)."
        )
    if str(device) == "cuda":  # with its number, so that it is the same in every thread
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _load_weights(
    source: Source,
    model_class: Any,
    config: Any,
    parameters: Sa2vaParameters,
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    settings: dict[str, Any] = {"torch_dtype": dtype}  # left out, it would be what the file says
    if parameters.quantisation != "none":
        settings["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=parameters.quantisation == "8bit",
            load_in_4bit=parameters.quantisation == "4bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=KEPT_WHOLE,
        )
        settings["device_map"] = {"": device}
    if parameters.device == "spread":
        settings["device_map"] = device_map(model_class, config, torch.cuda.device_count())
    refusals = []
    for attention in _attentions(parameters.attention, device):
        settings["attn_implementation"] = attention
        if "use_flash_attn" in inspect.signature(model_class.__init__).parameters:
            settings["use_flash_attn"] = attention == "flash_attention_2"
        try:
            model = model_class.from_pretrained(**source.place, config=config, **settings)
        except (ImportError, ValueError) as error:
            if not re.search(r"attention|flash", str(error), re.IGNORECASE):
                raise
            refusals.append(f"{attention}: {' '.join(str(error).split())}")
            continue
        logger.info(
            "Loaded %s: %s, %s attention, on %s.", source.path, dtype, attention,
            parameters.device if parameters.device == "spread" else device,
        )  # fmt: skip
        return model if "device_map" in settings else model.to(device)
    raise VesselrlError(
        f"segmenter.attention is {parameters.attention}, which this model cannot do "
        f"({'; '.join(refusals)}): segmenter.attention=auto takes what there is."
    )


def _attentions(wanted: str, device: torch.device) -> list[str]:
    """The implementations to try, in order."""
    if wanted != "auto":
        return [wanted]
    flash = device.type == "cuda" and find_spec("flash_attn") is not None
    return [*(["flash_attention_2"] if flash else []), "sdpa", "eager"]


def _helpers(source: Source, model: Any) -> dict[str, Any]:
    """What ``predict_forward`` takes beside image and text, by its signature.

    The models based on InternVL prepare themselves with a tokenizer, and some of them refuse a
    processor; those based on Qwen-VL cannot do without one.
    """
    accepted = inspect.signature(model.predict_forward).parameters
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values())
    helpers: dict[str, Any] = {}
    if anything or "tokenizer" in accepted:
        helpers["tokenizer"] = _helper(source, "tokenizer", transformers.AutoTokenizer)
    if (anything or "processor" in accepted) and not hasattr(model, "preparing_for_generation"):
        processor = _helper(source, "processor", transformers.AutoProcessor)
        if not hasattr(processor, "tokenizer"):  # without its files, a part is taken for the whole
            raise VesselrlError(f"{source.path} is not complete: it has no processor.")
        helpers["processor"] = processor
    return helpers


def _helper(source: Source, name: str, kind: Any) -> Any:
    try:
        return kind.from_pretrained(**source.place, trust_remote_code=True)
    except ValueError as error:  # without its files, its class is guessed from the model's
        reason = textwrap.shorten(str(error), 200)
        raise VesselrlError(
            f"{source.path} is not complete: its {name} cannot be loaded: {reason}"
        ) from error


def _prepare(model: Any, helpers: dict[str, Any], dtype: torch.dtype) -> None:
    """Let the model bring images to the type of its weights; its code has bfloat16 written in."""
    if hasattr(model, "preparing_for_generation") and "tokenizer" in helpers:
        # older ones bring all weights to bfloat16 here, which a quantised model does not survive
        with replaced(model, "to", lambda _: lambda *args, **kwargs: model):
            model.preparing_for_generation(tokenizer=helpers["tokenizer"])
    if hasattr(model, "torch_dtype"):
        model.torch_dtype = dtype


@contextmanager
def _readable_errors(source: Source) -> Iterator[None]:
    """Tell what is wrong with the packages or the folder in a sentence."""
    try:
        yield
    except ImportError as error:
        text = " ".join(str(error).split())
        listed = re.search(r"not found in your environment: (.*?)\. Run", text)
        missing = listed.group(1) if listed else error.name
        if listed or isinstance(error, ModuleNotFoundError):
            raise VesselrlError(
                f"The code that comes with {source.path} needs packages that are not there "
                f'({missing}): pip install "vesselrl[sa2va]"'
            ) from error
        raise VesselrlError(
            f"The code that comes with {source.path} and the packages here do not fit: {text}"
        ) from error
    except (OSError, SafetensorError) as error:
        raise VesselrlError(
            f"{source.path} is not complete: {' '.join(str(error).split())}"
        ) from error
