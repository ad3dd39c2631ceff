"""Training of the reward network's members."""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from vesselrl.checkpoints import Checkpoints, training_fingerprint
from vesselrl.devices import best_device
from vesselrl.early_stopping import is_exhausted
from vesselrl.errors import VesselrlError
from vesselrl.networks.graphs import graphed, in_mixed_precision
from vesselrl.networks.learning import Learner
from vesselrl.networks.residents import Residents
from vesselrl.networks.trainings import SideBySide, spread
from vesselrl.parameters import Devices
from vesselrl.reward.batches import Batch, Resident, residents, sample_batch
from vesselrl.reward.examples import Loader
from vesselrl.reward.loss import reward_loss
from vesselrl.reward.network import RewardNetwork, network_input
from vesselrl.reward.parameters import ExampleParameters, TrainingParameters
from vesselrl.reward.rankings import calibrate, ranking_tau
from vesselrl.reward.scoring import Scoring
from vesselrl.threads import one_thread

NO_LIMIT = 10**9  # examples have the working size already
_MEMBER = "member_"

Records = list[dict[str, float]]
State = dict[str, Any]


@one_thread()
def train_reward_network(
    training: Mapping[str, Loader],
    validation: Mapping[str, Loader],
    examples: ExampleParameters,
    parameters: TrainingParameters,
    objective: Sequence[str],
    seed: int,
    checkpoints: Checkpoints,
    devices: Devices = None,
) -> tuple[RewardNetwork, Records]:
    """Train the ensemble and calibrate it.

    Members differ by their seed alone (deep ensemble, Lakshminarayanan et al., "Simple and scalable
    predictive uncertainty estimation using deep ensembles", NeurIPS 2017, arXiv:1612.01474). Of
    each member the averaged weights are kept that ranked best within validation images; the
    validation images are then used once more, to calibrate the ensemble.

    An interrupted training goes on at its last check and ends, on the same device, in the same
    weights.

    Args:
        training: image id → loader of its `reward_examples`.
        validation: the same for images of other patients.
        examples: working size.
        parameters: size and length of training.
        objective: the scores whose mean is paid; their order is what checks look at.
        seed: of the first member; the others count on from it.
        checkpoints: where the state of each member is kept at every check; cleared at the end.
        devices: to which the members are dealt; their weights are the same on any number of them.

    Returns:
        The network, and its history: member, iteration, loss, tau, seconds (since training began,
        those before an interruption included; members train side by side).

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
    judges = list(validation.values())
    names = [f"{_MEMBER}{index}" for index in range(parameters.members)]
    fingerprint = training_fingerprint(
        {"train": training, "val": validation}, [examples, parameters, objective, seed]
    )
    make = _Ensemble(residents(list(training.values())), judges, objective, parameters, seed)
    job = SideBySide(make, checkpoints, fingerprint)
    spread(job, names, devices, "Reward network", parameters.iterations)
    trained = [checkpoints.load(name, fingerprint) or {} for name in names]
    network = RewardNetwork(
        [_built(parameters, state["best"]) for state in trained],
        parameters.architecture,
        examples.max_side,
        Scoring(parameters.aggregation, parameters.kappa),
    )
    calibrate(network, judges, objective)
    checkpoints.clear()
    history = [
        {"member": index, **record}
        for index, state in enumerate(trained)
        for record in state["records"]
    ]
    return network, history


@dataclass(frozen=True)
class _Ensemble:
    """Makes the members, in whichever process, by their names."""

    pool: Residents[Resident]
    judges: Sequence[Loader]
    objective: Sequence[str]
    parameters: TrainingParameters
    seed: int

    def __call__(self, name: str) -> "Member":
        seed = self.seed + int(name.removeprefix(_MEMBER))
        return Member(self.parameters, seed, best_device(), self.pool, self.judges, self.objective)


def _built(parameters: TrainingParameters, weights: State) -> nn.Module:
    network = parameters.architecture.load(weights)
    return network.to(best_device())


class Member(Learner):
    """One member in training.

    Args:
        parameters: size and length of training.
        seed: of drawn weights, squares and light.
        device: where it trains.
        pool: what it learns from, on that device.
        judges: loaders of the validation images' examples.
        objective: the scores whose mean is paid.

    Attributes:
        iteration: steps made.
        best: weights of the check with the highest tau so far, on the CPU.
        records: of each check iteration, loss, tau and seconds since training began.
    """

    def __init__(
        self,
        parameters: TrainingParameters,
        seed: int,
        device: torch.device,
        pool: Residents[Resident],
        judges: Sequence[Loader],
        objective: Sequence[str],
    ) -> None:
        self._network = parameters.architecture.build(seed).to(device)
        self._average = deepcopy(self._network)
        super().__init__(
            self._network.parameters(),
            self._average.parameters(),
            parameters.learning_rate,
            seed,
            parameters.iterations,
        )
        self.best: State = {}
        self.records: Records = []
        self._began = time.perf_counter()
        self._parameters = parameters
        self._pool = pool
        self._judges = judges
        self._objective = objective
        self._losses: list[torch.Tensor] = []
        square = (parameters.batch, parameters.patch, parameters.patch)
        shapes = dict.fromkeys(Batch._fields, square) | {"cut": square[:1]}
        self._loss = graphed(MemberLoss(self._network), tuple(shapes.values()), device)
        steps = np.arange(1, parameters.checks + 1) * parameters.iterations / parameters.checks
        self._checks = set(np.round(steps).astype(int).tolist())

    @property
    def due(self) -> bool:
        """Whether it is time for a check."""
        return self.iteration in self._checks

    @property
    def finished(self) -> bool:
        """All steps are made, or the last checks brought no better ranking."""
        taus = [record["tau"] for record in self.records]
        p = self._parameters
        return self.iteration >= p.iterations or is_exhausted(taus, p.patience)

    def step(self) -> None:
        """One step of the optimiser."""
        p = self._parameters
        examples = self._draw((self._pool, p.batch))
        loss = self._loss(*sample_batch(examples, p.patch, self._rng, self._noise))
        self._descend(loss, p.ema_decay if self.iteration else 0.0)
        self._losses.append(loss.detach().clone())  # a graph's next step overwrites it
        self.iteration += 1

    def check(self) -> None:
        """Rank the masks of validation images; the weights that rank best are kept."""
        averaged = self._average.eval()
        for kept, now in zip(averaged.buffers(), self._network.buffers(), strict=True):
            kept.copy_(now)
        alone = RewardNetwork(
            [averaged], self._parameters.architecture, NO_LIMIT, Scoring("min", kappa=0)
        )
        tau = ranking_tau(alone, self._judges, self._objective)
        if all(tau > record["tau"] for record in self.records):
            self.best = _on_cpu(averaged)
        loss = float(torch.stack(self._losses).mean())
        seconds = round(time.perf_counter() - self._began, 3)
        self.records.append(
            {"iteration": self.iteration, "loss": loss, "tau": tau, "seconds": seconds}
        )
        self._losses.clear()

    def state(self) -> State:
        """All that the next step depends on, right after a check; of tensors and plain values."""
        return super().state() | {
            "best": self.best,
            "records": self.records,
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        super().load_state(state)
        self.best = state["best"]
        self.records = state["records"]
        # As if it had begun so much earlier; what was lost since the last check does not count.
        self._began = time.perf_counter() - self.records[-1].get("seconds", 0)
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])


class MemberLoss(nn.Module):
    """From the parts of a `Batch` to what a member's step makes smaller, a float ()."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(
        self,
        image: torch.Tensor,
        candidate: torch.Tensor,
        judged: torch.Tensor,
        cut: torch.Tensor,
        truth: torch.Tensor,
    ) -> torch.Tensor:
        """See `reward_loss`."""
        logits = in_mixed_precision(self._network, network_input(image, candidate))
        return reward_loss(logits[:, 0], judged, cut, truth)


def _on_cpu(module: nn.Module) -> State:
    return {key: tensor.detach().cpu().clone() for key, tensor in module.state_dict().items()}
