"""A trained network as one safetensors file, its architecture in the file's metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from torch import Tensor

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically
from vesselrl.networks.parameters import ArchitectureParameters, Norm
from vesselrl.segmenters.unet.network import SegmentationNetwork

METADATA = "network"
"""The key of the file's metadata under which all but the weights is, as JSON."""


class WeightsHeader(ArchitectureParameters):
    """What the file's metadata tells of the network."""

    norm: Norm = Field(description="how the network normalises: by batches, or each image alone")
    max_side: int = Field(ge=32, description="longer images are reduced to this side, in pixels")
    groups: list[str] = Field([], description="hashes of the groups that it learned from")
    facts: dict[str, Any] = Field({}, description="how it was made, for people")


def save_weights(
    path: Path, network: SegmentationNetwork, facts: Mapping[str, Any] | None = None
) -> None:
    """Write a network's weights, floats as fp16, whole or not at all.

    Args:
        path: of the file.
        network: what is kept.
        facts: anything JSON-like that people should know of it: data, command, scores.

    Raises:
        VesselrlError: a weight is too large for fp16 or not finite.
    """
    from safetensors.torch import save

    state = network.state()
    weights: dict[str, Tensor] = state.pop("weights")
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in weights.items()
    }
    beyond = [name for name, tensor in halves.items() if not tensor.isfinite().all()]
    if beyond:
        raise VesselrlError(
            f"The weights of '{beyond[0]}' do not fit into fp16 (beyond 65504, or not finite): the "
            "network is broken; train it again with a lower learning rate."
        )
    header = WeightsHeader(**state, facts=dict(facts or {}))
    content = save(halves, metadata={METADATA: header.model_dump_json()})
    write_atomically(path, lambda stream: stream.write(content))


def load_weights(path: Path, sha256: str | None = None) -> SegmentationNetwork:
    """The network of a file that `save_weights` wrote, in fp32 on the best device there is.

    Args:
        path: of the file, which is read once: what is checked is what is used.
        sha256: of its content, if that is known.

    Raises:
        VesselrlError: there is no such file, it is damaged, it is not of such a network, or its
            content is another than the one known.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _require(path)
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise VesselrlError(
            f"{path} is not what it was when it was checked (its SHA-256 is another): something "
            "wrote to it meanwhile; run again once nothing does."
        )
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise _damaged(path, error) from error
    told = content[8 : 8 + int.from_bytes(content[:8], "little")]  # which `load` has checked
    header = _header(path, json.loads(told).get("__metadata__"))
    weights = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    state = {**header.model_dump(exclude={"facts"}), "weights": weights}
    try:
        return SegmentationNetwork.from_state(state)
    except RuntimeError as error:
        raise VesselrlError(
            f"{path} says that its network has features {header.features}, downscale "
            f"{header.downscale} and {header.norm} normalisation, but the weights in it are of "
            "another: get the file again from where it was made."
        ) from error


def read_header(path: Path) -> WeightsHeader:
    """What a weights file tells of its network, without reading the weights.

    Raises:
        VesselrlError: as `load_weights`.
    """
    from safetensors import SafetensorError, safe_open

    _require(path)
    try:
        with safe_open(path, framework="pt") as file:
            return _header(path, file.metadata())
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise VesselrlError(
            f"There are no weights at {path}: expected a .safetensors file of a U-Net of vesselrl."
        )


def _header(path: Path, metadata: Mapping[str, str] | None) -> WeightsHeader:
    if METADATA not in (metadata := metadata or {}):
        raise VesselrlError(
            f"{path} has no entry '{METADATA}' in its metadata, so the network's size is not "
            "known: expected a file of vesselrl's pipelines segmenter, pixel_rl "
            "(segmenter.safetensors) or pretrain."
        )
    try:
        return WeightsHeader(**json.loads(metadata[METADATA]))
    except (ValueError, TypeError) as error:
        raise VesselrlError(
            f"{path}: the entry '{METADATA}' of its metadata is wrong ({_first_line(error)}); "
            "expected JSON with features (six numbers), downscale (1, 2 or 4), norm and max_side, "
            "as vesselrl's pipelines write it."
        ) from error


def _damaged(path: Path, error: Exception) -> VesselrlError:
    return VesselrlError(
        f"{path} is damaged or no safetensors file ({error}): get it again from where it was made."
    )


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
