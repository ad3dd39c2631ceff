"""What every learner has: an optimiser, the running mean of its weights, and what chance draws."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vesselrl.networks.data_parallel import Share
from vesselrl.networks.schedules import one_cycle


class Pool(Protocol):
    """What is learnt from, to draw from."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Learner:
    """Weights that are learnt step by step with AdamW, and can be gone on with.

    Their running mean is what is used (Polyak and Juditsky, "Acceleration of stochastic
    approximation by averaging", 1992, doi:10.1137/0330046; exponentially weighted).

    Args:
        weights: that learn, on the device where they do.
        means: of each of them.
        learning_rate: or, with a cycle, its peak.
        seed: of all that is drawn.
        cycle: iterations in which the learning rate rises and falls, see `one_cycle`; None where it
            stays.

    Attributes:
        iteration: batches learnt from.
        optimiser: of the weights.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        means: Iterable[Tensor],
        learning_rate: float,
        seed: int,
        cycle: int | None = None,
    ) -> None:
        # Lists made once: AveragedModel makes them at every step, which costs more than the means.
        self._weights, self._means = list(weights), list(means)
        self._rng = np.random.default_rng(seed)
        self._noise = torch.Generator(self._weights[0].device).manual_seed(seed)
        self._share = Share.own()
        self.iteration = 0
        self.optimiser = torch.optim.AdamW(self._weights, learning_rate, fused=True)
        self._schedule = one_cycle(self.optimiser, learning_rate, cycle) if cycle else None

    def _draw(self, *shares: tuple[Pool, int]) -> list[Any]:
        """This process's share of a batch: so many items of each pool, with replacement."""
        drawn = [
            (pool, int(index))
            for pool, count in shares
            for index in (self._rng.integers(0, len(pool), count) if count else ())
        ]
        return [pool[index] for pool, index in self._share.of(drawn)]

    def _descend(self, loss: Tensor, decay: float) -> None:
        """One step of the optimiser along a loss, a float ()."""
        self.optimiser.zero_grad()
        loss.backward()
        self._step(decay)

    def _step(self, decay: float) -> None:
        """One step of the optimiser along the gradients that there are.

        Args:
            decay: what the means keep of themselves.
        """
        self._share.average([one.grad for one in self._weights])
        self.optimiser.step()
        if self._schedule:
            self._schedule.step()
        get_ema_multi_avg_fn(decay)(self._means, self._weights, 0)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, of tensors and plain values; learners add weights."""
        state = {
            "iteration": self.iteration,
            "rng": self._rng.bit_generator.state,
            "noise": self._noise.get_state(),
            "optimiser": self.optimiser.state_dict(),
        }
        return state | ({"schedule": self._schedule.state_dict()} if self._schedule else {})

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.iteration = state["iteration"]
        self._rng.bit_generator.state = state["rng"]
        self._noise.set_state(state["noise"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self._schedule:
            self._schedule.load_state_dict(state["schedule"])
