"""Training of the reward network's members, and calibration of the ensemble."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from vesselrl.errors import VesselrlError
from vesselrl.metrics.masks import Scores
from vesselrl.reward.closed_form import Probability, expected_scores
from vesselrl.reward.network import (
    SCORES,
    Calibration,
    RewardNetwork,
    build_member,
    mean_candidate,
    network_input,
)
from vesselrl.reward.parameters import ExampleParameters, TrainingParameters
from vesselrl.reward.patches import Example, sample_patch
from vesselrl.reward.report_card import within_image_tau
from vesselrl.segmenters.levels import from_levels
from vesselrl.threads import one_thread

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
NO_LIMIT = 10**9  # examples have the working size already

Loader = Callable[[], Example]


@dataclass(frozen=True)
class Ranking:
    """Masks of one validation image with their true scores: what the network has to predict."""

    image: npt.NDArray[np.uint8]
    candidate: Probability
    masks: npt.NDArray[np.bool_]
    true: dict[str, Scores]

    @classmethod
    def of(cls, example: Example) -> "Ranking":
        """The segmenter's maps of an example, cut at every threshold."""
        maps = from_levels(example["maps"][example["sources"] == ""])
        masks = np.concatenate([maps > threshold for threshold in THRESHOLDS])
        truth = example["truth"].astype(np.float32) / np.float32(255)
        true = {key: score[:, 0] for key, score in expected_scores(masks, truth[None]).items()}
        return cls(example["image"], mean_candidate(maps), masks, true)


@one_thread()
def train_reward_network(
    training: Mapping[str, Loader],
    validation: Mapping[str, Loader],
    examples: ExampleParameters,
    parameters: TrainingParameters,
    seed: int,
) -> tuple[RewardNetwork, list[dict[str, float]]]:
    """Train the ensemble and calibrate it.

    Members differ by their seed alone (deep ensemble, Lakshminarayanan et al., "Simple and scalable
    predictive uncertainty estimation using deep ensembles", NeurIPS 2017). Of each member the
    averaged weights are kept that ranked best within validation images; the validation images are
    then used once more, for the two numbers of each calibration.

    Args:
        training: image id → loader of its `reward_examples`.
        validation: the same for images of other patients.
        examples: working size.
        parameters: size and length of training.
        seed: of the first member; the others count on from it.

    Returns:
        The network, and its history: member, iteration, loss, tau.

    Raises:
        VesselrlError: there are no images to learn from, or none to judge what was learnt.
    """
    for split, loaders in (("train", training), ("val", validation)):
        if not loaders:
            raise VesselrlError(
                f"The split '{split}' has no images, and the reward network needs training images "
                "to learn from and validation images of other patients to be calibrated on: "
                "annotate more groups, or change split.fractions or splits.json."
            )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rankings = [Ranking.of(load()) for load in validation.values()]
    members, history = [], []
    with tqdm(total=parameters.members * parameters.iterations, desc="Reward network") as progress:
        for index in range(parameters.members):
            member, records = _train_member(
                list(training.values()), rankings, parameters, seed + index, device, progress
            )
            members.append(member)
            history += [{"member": index, **record} for record in records]
    network = RewardNetwork(members, parameters.features, examples.max_side, parameters.kappa)
    raw = [network.raw_scores(r.masks, network.opinions(r.image, r.candidate)) for r in rankings]
    network.calibrations = {
        key: Calibration.fit(
            np.concatenate([scores[key] for scores in raw]),
            np.concatenate([r.true[key] for r in rankings]),
        )
        for key in SCORES
    }
    return network, history


def _train_member(
    loaders: Sequence[Loader],
    rankings: Sequence[Ranking],
    parameters: TrainingParameters,
    seed: int,
    device: torch.device,
    progress: tqdm,
) -> tuple[nn.Module, list[dict[str, float]]]:
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        network = build_member(parameters.features).to(device)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(parameters.ema_decay))
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, parameters.learning_rate, total_steps=parameters.iterations, pct_start=0.1
    )
    check_at = {
        round(parameters.iterations * (i + 1) / parameters.checks) for i in range(parameters.checks)
    }
    best, best_tau = average.module, -np.inf
    losses: list[float] = []
    records = []
    for iteration in range(1, parameters.iterations + 1):
        chosen = rng.integers(0, len(loaders), parameters.batch)
        batch = [sample_patch(loaders[i](), parameters.patch, rng) for i in chosen]
        image, candidate, judged, truth = torch.stack(batch).to(device).unbind(1)
        logits = network(network_input(image, candidate))[:, 0]
        loss = reward_loss(logits, judged, truth, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        losses.append(loss.item())
        progress.update()
        if iteration in check_at:
            member = deepcopy(average.module).cpu()
            tau = _tau(member, rankings, parameters.features)
            records.append({"iteration": iteration, "loss": float(np.mean(losses)), "tau": tau})
            losses.clear()
            if tau > best_tau:
                best, best_tau = member, tau
    return best, records


def reward_loss(logits: Tensor, judged: Tensor, truth: Tensor, rng: np.random.Generator) -> Tensor:
    """2 BCE + (expected Dice - true Dice)^2 + 1/2 soft Dice loss, a float ().

    Args:
        logits: float (B, H, W), the network's answer.
        judged: float (B, H, W) in [0, 1]; cut at a random threshold it is the mask to judge.
        truth: float (B, H, W) in [0, 1].
        rng: draws the thresholds.
    """
    q = logits.sigmoid()
    cut = torch.as_tensor(rng.uniform(0.1, 0.9, len(q)), dtype=q.dtype, device=q.device)
    mask = (judged > cut[:, None, None]).to(q.dtype)

    def dice(where: Tensor) -> Tensor:
        total = mask.sum((1, 2)) + where.sum((1, 2))
        return 2 * (mask * where).sum((1, 2)) / total.clamp_min(1)

    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    calibration = (dice(q) - dice(truth)).square().mean()
    overlap: Tensor = DiceLoss()(q[:, None], truth[:, None])
    return 2 * entropy + calibration + 0.5 * overlap


def _tau(member: nn.Module, rankings: Sequence[Ranking], features: list[int]) -> float:
    """`within_image_tau` of one member on the validation images."""
    alone = RewardNetwork([member], features, max_side=NO_LIMIT, kappa=0)
    return within_image_tau(
        (alone.raw_scores(r.masks, alone.opinions(r.image, r.candidate))["dice"], r.true["dice"])
        for r in rankings
    )
