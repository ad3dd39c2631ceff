"""One model over several GPUs, in the only way that the models' own code stands."""

from typing import Any

import torch

from vesselrl.errors import VesselrlError


def device_map(model_class: Any, config: Any, gpus: int) -> dict[str, int]:
    """Which GPU each module of a model goes to, from its settings alone.

    Raises:
        VesselrlError: accelerate, which moves what goes between GPUs, is missing.
    """
    try:
        from accelerate import init_empty_weights
    except ImportError as error:
        raise VesselrlError(
            'segmenter.device is spread, which needs accelerate: pip install "vesselrl[sa2va]"'
        ) from error
    with init_empty_weights():
        model = model_class(config)
    return shares(model, gpus)


def shares(model: torch.nn.Module, gpus: int) -> dict[str, int]:
    """Which GPU each module goes to.

    The models' code puts what it makes on the first GPU, and picks the hidden states of ``[SEG]``
    with a mask that lies there. So everything is on the first GPU but layers of the language model;
    these are dealt out in their order, so that all GPUs hold about as many bytes.

    Args:
        model: its weights need not be there.
        gpus: how many.

    Returns:
        Name of a module → number of its GPU; together all modules with weights.
    """
    layers = _layers(model)
    sizes = [_bytes(layer) for layer in model.get_submodule(layers).children()]
    rest = _bytes(model) - sum(sizes)
    share = _bytes(model) / gpus
    placed = dict.fromkeys(_around(model, "", layers), 0)
    filled = float(rest)
    for number, size in enumerate(sizes):
        filled += size
        # the middle of the layer decides; the first GPU may be full before the first layer
        placed[f"{layers}.{number}"] = min(int((filled - size / 2) / share), gpus - 1)
    return placed


def _layers(model: torch.nn.Module) -> str:
    """The name of the language model's list of layers: the largest list of modules."""
    lists = {
        name: _bytes(module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList)
    }
    return max(lists, key=lambda name: lists[name])


def _around(model: torch.nn.Module, prefix: str, layers: str) -> list[str]:
    """The largest modules that do not hold the layers, and parameters beside them."""
    names = [f"{prefix}{name}" for name, _ in model.named_parameters(recurse=False)]
    names += [f"{prefix}{name}" for name, _ in model.named_buffers(recurse=False)]
    for name, child in model.named_children():
        path = f"{prefix}{name}"
        if path == layers:
            continue
        if layers.startswith(f"{path}."):
            names += _around(child, f"{path}.", layers)
        else:
            names.append(path)
    return names


def _bytes(module: torch.nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in module.parameters())
