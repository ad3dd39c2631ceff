"""Training of the reward network's members, and calibration of the ensemble."""

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from scipy.stats import kendalltau
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from vesselrl.reward.closed_form import expected_overlap
from vesselrl.reward.examples import THRESHOLDS
from vesselrl.reward.network import Calibration, RewardNetwork, build_unet, network_input
from vesselrl.reward.parameters import ExampleParameters, TrainingParameters
from vesselrl.segmenters.levels import from_levels

logger = logging.getLogger(__name__)

Example = Mapping[str, npt.NDArray[Any]]
Loader = Callable[[], Example]


@dataclass(frozen=True)
class Ranking:
    """Masks of one validation image with their true Dice: the network must order them as it does."""

    image: npt.NDArray[np.uint8]
    candidate: npt.NDArray[np.float32]
    masks: npt.NDArray[np.bool_]
    dice: npt.NDArray[np.float64]

    @classmethod
    def of(cls, example: Example) -> "Ranking":
        """The segmenter's maps of an example, cut at every threshold."""
        own = example["sources"] == ""
        maps = from_levels(example["maps"][own])
        masks = np.stack([maps > t for t in THRESHOLDS], axis=1)
        return cls(
            image=example["image"],
            candidate=maps.mean(0),
            masks=masks.reshape(-1, *maps.shape[1:]),
            dice=example["dice"][own].ravel(),
        )


def train_reward_network(
    training: Mapping[str, Loader],
    validation: Mapping[str, Loader],
    examples: ExampleParameters,
    parameters: TrainingParameters,
    seed: int,
) -> tuple[RewardNetwork, list[dict[str, float]]]:
    """Train the ensemble and calibrate it.

    Members differ by their seed alone (deep ensemble, Lakshminarayanan et al. 2017). Of each member
    the averaged weights are kept that ranked best within validation images; the validation images
    are then used once more, for the two numbers of the calibration.

    Args:
        training: image id → loader of its `reward_examples`.
        validation: the same for images of other patients.
        examples: working size.
        parameters: size and length of training.
        seed: of the first member; the others count on from it.

    Returns:
        The network, and its history: member, iteration, loss, tau.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rankings = [Ranking.of(load()) for load in validation.values()]
    loaders = list(training.values())
    members, history = [], []
    with tqdm(total=parameters.members * parameters.iterations, desc="Reward network") as progress:
        for index in range(parameters.members):
            member, records = _train_member(
                loaders, rankings, parameters, seed + index, device, progress
            )
            members.append(member)
            history += [{"member": index, **record} for record in records]
    network = RewardNetwork(
        members, parameters.features, examples.max_side, parameters.kappa, Calibration()
    )
    raw = [network.raw_dice(r.masks, network.opinions(r.image, r.candidate)) for r in rankings]
    network.calibration = Calibration.fit(
        np.concatenate(raw), np.concatenate([r.dice for r in rankings])
    )
    return network, history


def _train_member(
    loaders: list[Loader],
    rankings: list[Ranking],
    parameters: TrainingParameters,
    seed: int,
    device: torch.device,
    progress: tqdm,
) -> tuple[BasicUNet, list[dict[str, float]]]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = build_unet(parameters.features).to(device)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(parameters.ema_decay))
    optimiser = torch.optim.AdamW(network.parameters(), lr=parameters.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, parameters.learning_rate, total_steps=parameters.iterations, pct_start=0.1
    )
    check_at = {
        round(parameters.iterations * (i + 1) / parameters.checks) for i in range(parameters.checks)
    }
    best, best_tau = deepcopy(average.module), -np.inf
    losses: list[float] = []
    records = []
    for iteration in range(1, parameters.iterations + 1):
        chosen = rng.integers(0, len(loaders), parameters.batch)
        batch = [sample_patch(loaders[i](), parameters.patch, rng) for i in chosen]
        image, candidate, truth = torch.stack(batch).to(device).unbind(1)
        loss = reward_loss(network(network_input(image, candidate))[:, 0], candidate, truth, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        losses.append(loss.item())
        progress.update()
        if iteration in check_at:
            tau = within_image_tau(average.module, rankings, parameters.features)
            records.append({"iteration": iteration, "loss": float(np.mean(losses)), "tau": tau})
            losses.clear()
            if tau > best_tau:
                best, best_tau = deepcopy(average.module), tau
    return best.cpu(), records


def reward_loss(
    logits: Tensor, candidate: Tensor, truth: Tensor, rng: np.random.Generator
) -> Tensor:
    """2 BCE + (expected Dice - true Dice)^2 + 1/2 soft Dice loss.

    Args:
        logits: float (B, H, W), the network's answer.
        candidate: float (B, H, W) in [0, 1]; cut at a random threshold it is the mask to judge.
        truth: float (B, H, W) in [0, 1].
        rng: draws the thresholds.
    """
    q = logits.sigmoid()
    cut = torch.as_tensor(rng.uniform(0.1, 0.9, len(q)), dtype=q.dtype, device=q.device)
    mask = (candidate > cut[:, None, None]).to(q.dtype)

    def dice(where: Tensor) -> Tensor:
        total = mask.sum((1, 2)) + where.sum((1, 2))
        return 2 * (mask * where).sum((1, 2)) / total.clamp_min(1)

    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    calibration = (dice(q) - dice(truth)).square().mean()
    overlap: Tensor = DiceLoss()(q[:, None], truth[:, None])
    return 2 * entropy + calibration + 0.5 * overlap


def sample_patch(example: Example, patch: int, rng: np.random.Generator) -> Tensor:
    """A randomly placed, turned, scaled and re-lit square of an example.

    The candidate is the mean of all prompts' maps, of some of them, or a corruption of the truth.

    Returns:
        float (3, patch, patch): image, candidate, truth, each in [0, 1].
    """
    own = np.flatnonzero(example["sources"] == "")
    corrupted = np.flatnonzero(example["sources"] != "")
    draw = rng.random()
    if draw < 0.4 and len(corrupted):
        chosen = rng.choice(corrupted, 1)
    elif draw < 0.7:
        chosen = rng.choice(own, rng.integers(1, len(own) + 1), replace=False)
    else:
        chosen = own
    candidate = from_levels(example["maps"][chosen]).mean(0)
    image, truth = example["image"] / np.float32(255), example["truth"] / np.float32(255)
    stack = torch.from_numpy(np.stack([image, candidate, truth]).astype(np.float32))
    sampled = _random_affine(stack, patch, rng)
    sampled[0] = _relight(sampled[0], rng)
    return sampled


def _random_affine(stack: Tensor, patch: int, rng: np.random.Generator) -> Tensor:
    height, width = stack.shape[1:]
    angle = rng.uniform(-np.pi, np.pi)
    zoom = np.exp(rng.uniform(-0.3, 0.3))
    shear = rng.uniform(-0.2, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, rng.choice([-1, 1])]]) * zoom * patch
    # grid_sample counts from -1 to 1 across the image, whatever its size
    linear /= np.array([[width], [height]])
    centre = rng.uniform(-1, 1, 2) * np.clip(1 - patch / np.array([width, height]), 0.1, None)
    theta = torch.tensor(np.column_stack([linear, centre]), dtype=torch.float32)[None]
    grid = functional.affine_grid(theta, [1, 3, patch, patch], align_corners=False)
    return functional.grid_sample(
        stack[None], grid, padding_mode="reflection", align_corners=False
    )[0]


def _relight(image: Tensor, rng: np.random.Generator) -> Tensor:
    size = image.shape[-1]
    field = torch.from_numpy(rng.standard_normal((1, 1, 4, 4)).astype(np.float32))
    gain = 1 + 0.15 * functional.interpolate(field, (size, size), mode="bicubic")[0, 0]
    noise = torch.from_numpy(rng.standard_normal((size, size)).astype(np.float32))
    lit = image.clamp(1e-3, 1) ** float(np.exp(rng.uniform(-0.4, 0.4)))
    return lit * gain + noise * rng.uniform(0, 0.04)


def within_image_tau(member: BasicUNet, rankings: list[Ranking], features: list[int]) -> float:
    """Kendall's tau between expected and true Dice, within each validation image, then averaged."""
    alone = RewardNetwork([deepcopy(member).cpu()], features, 10**9, 0.0, Calibration())
    taus = []
    for ranking in rankings:
        opinions = alone.opinions(ranking.image, ranking.candidate)
        expected, _, _ = expected_overlap(ranking.masks, opinions)
        tau = kendalltau(expected[:, 0], ranking.dice).statistic
        taus.append(0.0 if np.isnan(tau) else float(tau))
    return float(np.mean(taus))
