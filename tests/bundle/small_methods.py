"""What recipes are made of, of networks small enough to be asked in no time."""

import numpy as np
import torch

from vesselrl.networks.architecture import Architecture
from vesselrl.reward.calibration import Line, PlattScaling
from vesselrl.reward.network import RewardNetwork
from vesselrl.reward.scoring import Scoring
from vesselrl.rl.actions import ActionSet, Rules
from vesselrl.rl.observations import IMAGE_FEATURES, MASK_FEATURES, Observer
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.policy import Policy
from vesselrl.segmenters.unet.network import SegmentationNetwork

SIZES = (4, 4, 8, 8, 8, 4)
MAX_SIDE = 48
"""Images are longer, so that they are reduced."""
ACTIONS = ActionParameters(
    thresholds=[0.4, 0.5, 0.6], operations={"opening": {"kind": "opening", "radius": 1}}
)
UNET_PROMPTS = {
    "vessels": {"operating_point": 0.5, "zoom": 1},
    "thin": {"operating_point": 0.4, "zoom": 1.3},
}
RIDGE_PROMPTS = {
    "vessels": {"scales": [2], "fraction": 0.2, "min_size": 0},
    "thin": {"scales": [1, 2], "fraction": 0.1, "min_size": 4},
}


def settled(module, channels):
    """Statistics as after training, so that what the network says varies over an image."""
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all that is seen
    noise = torch.randn((4, channels, 64, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        module.train()(noise)
    return module.eval()


def segmentation_network(seed=0, norm="batch", downscale=1):
    architecture = Architecture(1, SIZES, downscale, norm)
    return SegmentationNetwork(settled(architecture.build(seed), 1), architecture, MAX_SIDE)


def reward_network():
    architecture = Architecture(2, SIZES, 2)
    members = [settled(architecture.build(seed), 2) for seed in range(2)]
    lines = {"dice": Line(0.9, 0.05), "recall": Line(), "precision": Line(0.5, 0.2)}
    scoring = Scoring("lower_bound", 0.5, lines)
    return RewardNetwork(members, architecture, MAX_SIDE, scoring, PlattScaling(0.8, 0.1))


def policy(chooses, length, joint=False):
    actions = ActionSet.of(list(UNET_PROMPTS), "vessels", ACTIONS)
    rules = Rules(actions, chooses, length)
    random = np.random.default_rng(3)
    features = len(IMAGE_FEATURES)
    seen = features + (len(MASK_FEATURES) + 1 if length > 1 else 0)
    options = int(np.prod(rules.choices)) if joint else sum(rules.choices)
    weights = {
        "mean": np.zeros(features, np.float32),
        "scale": np.ones(features, np.float32),
        "layer.0.weight": random.normal(size=(8, seen)).astype(np.float32),
        "layer.0.bias": random.normal(size=8).astype(np.float32),
        "layer.1.weight": random.normal(size=(options, 8)).astype(np.float32),
        "layer.1.bias": random.normal(size=options).astype(np.float32),
    }
    observer = Observer(weights["mean"], weights["scale"], length)
    return Policy(rules, observer, weights, joint)


METHODS = {
    "default": {"kind": "default"},
    "static": {"kind": "static"},
    "best_of_one": {"kind": "best_of_one"},
    "best_of_n": {"kind": "best_of_n"},
    "posterior": {"kind": "posterior"},
    "reward_rl": {"kind": "policy", "experiment": "reward_rl"},
    "postprocess_rl": {"kind": "policy", "experiment": "postprocess_rl"},
    "regressor": {"kind": "regressor", "experiment": "regressor"},
    "distilled": {"kind": "network", "network": "distilled"},
    "fold_ensemble_tta": {"kind": "network", "network": "fold_ensemble_tta"},
    "refine": {"kind": "network", "network": "refine"},
}
POLICIES = {
    "reward_rl": ("setting", 1),
    "postprocess_rl": ("operations", 3),
    "regressor": ("setting", 1, True),
}
NETWORKS = {
    "distilled": ["distilled"],
    "fold_ensemble_tta": ["fold_0", "fold_1"],
    "refine": ["fold_0", "fold_1"],
}


def put(folder, content):
    """Write files, name → content, into a folder."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
