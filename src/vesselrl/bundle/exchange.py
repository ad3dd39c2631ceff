"""Networks of ours as ONNX, for programs without Python.

What each graph reads and answers stands in ``docs/bundle.md``. The sides of images and their number
may vary; normalisation and padding are within the graph, the reduction to ``max_side`` is not.
"""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from importlib.util import find_spec
from io import BytesIO

import torch
from torch import Tensor, nn

from vesselrl.errors import VesselrlError
from vesselrl.networks.imaging import normalised, padded
from vesselrl.prediction.recipe import Recipe
from vesselrl.reward.calibration import PlattScaling
from vesselrl.reward.network import RewardNetwork, network_input
from vesselrl.rl.policy import Policy
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.parameters import UnetParameters
from vesselrl.segmenters.unet.weights import load_weights

OPSET = 17
IMAGE_AXES = {0: "batch", 1: "height", 2: "width"}


class _Segmentation(nn.Module):
    """Grey float (B, H, W) in [0, 1] → probability of vessel, float (B, H, W)."""

    def __init__(self, module: nn.Module, stride: int) -> None:
        super().__init__()
        self.module = deepcopy(module).cpu()
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        seen = normalised(image)[:, None]
        height, width = seen.shape[2:]
        answer: Tensor = self.module(padded(seen, self.stride))
        return answer[:, 0, :height, :width].sigmoid()


class _Member(nn.Module):
    """Image and candidate, float (B, H, W) in [0, 1] → where the truth is, float (B, H, W)."""

    def __init__(self, module: nn.Module, stride: int, scaling: PlattScaling) -> None:
        super().__init__()
        self.module = deepcopy(module).cpu()
        self.stride = stride
        self.scaling = scaling

    def forward(self, image: Tensor, candidate: Tensor) -> Tensor:
        seen = network_input(image, candidate)
        height, width = seen.shape[2:]
        odds: Tensor = self.module(padded(seen, self.stride))[:, 0, :height, :width]
        return (self.scaling.slope * odds + self.scaling.intercept).sigmoid()


def graphs(recipe: Recipe) -> dict[str, bytes]:
    """Every network of a recipe that is ours, name → ONNX.

    ``segmenter`` (of the kind ``unet``), ``network_<name>``, ``reward_network_<n>``,
    ``refiner_<n>`` and ``policy``, as far as the method has them.

    Raises:
        VesselrlError: the package onnx is not installed.
    """
    if find_spec("onnx") is None:
        raise VesselrlError(
            'bundling.onnx is true, which needs the package onnx: pip install "vesselrl[onnx]", or '
            "leave it false."
        )
    made: dict[str, bytes] = {}
    if isinstance(recipe.segmenter, UnetParameters):
        made["segmenter"] = segmentation_graph(load_weights(recipe.segmenter.file))
    for name, state in (recipe.network or {}).items():
        made[f"network_{name}"] = segmentation_graph(SegmentationNetwork.from_state(state))
    judges = {"reward_network": recipe.reward_network, "refiner": recipe.refiner}
    for name, judge in judges.items():
        if judge is not None:
            members = member_graphs(RewardNetwork.from_state(dict(judge)))
            made |= {f"{name}_{number}": graph for number, graph in enumerate(members)}
    if recipe.policy:
        made["policy"] = policy_graph(recipe.policy)
    return made


def segmentation_graph(network: SegmentationNetwork) -> bytes:
    """ONNX of a segmentation network: ``image`` → ``probability``."""
    stride = network.architecture.stride
    module = _Segmentation(network.module, stride)
    return _exported(module, (_example(stride),), ["image"], "probability")


def member_graphs(network: RewardNetwork) -> list[bytes]:
    """ONNX of each member of a reward network: ``image``, ``candidate`` → ``vessel``."""
    stride = network.architecture.stride
    example = (_example(stride), _example(stride))
    return [
        _exported(
            _Member(member, stride, network.scaling), example, ["image", "candidate"], "vessel"
        )
        for member in network.members
    ]


def policy_graph(policy: Policy) -> bytes:
    """ONNX of a policy: ``observation``, float (B, F) → ``scores``, float (B, options)."""
    depth = sum(name.endswith(".bias") for name in policy.weights)
    layers: list[nn.Module] = []
    for number in range(depth):
        weight, bias = (
            torch.from_numpy(policy.weights[f"layer.{number}.{part}"].copy())
            for part in ("weight", "bias")
        )
        layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])  # draws nothing
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, nn.Tanh()]
    example = torch.zeros(2, policy.observer.size)
    axes = {0: "batch"}
    return _exported(nn.Sequential(*layers[:-1]), (example,), ["observation"], "scores", axes)


def _example(stride: int) -> Tensor:
    """Images of sides that must be padded, so that the graph pads."""
    return torch.zeros(2, 4 * stride + 1, 5 * stride - 1)


def _exported(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    output: str,
    axes: dict[int, str] | None = None,
) -> bytes:
    content = BytesIO()
    named = dict.fromkeys((*inputs, output), axes or IMAGE_AXES)
    with warnings.catch_warnings():
        # The newer exporter needs onnxscript; what the tracer warns of is what makes sides vary.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            content,  # type: ignore[arg-type]  # a stream is as good as a path
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=named,
            opset_version=OPSET,
            dynamo=False,
        )
    return content.getvalue()
