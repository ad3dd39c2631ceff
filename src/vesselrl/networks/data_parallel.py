"""One training on several devices: each has a copy of the network and takes rows of every batch.

Every process makes the same steps and draws the same random numbers; it works on its own rows, and
what is learned of them is averaged, so that all copies stay equal. The statistics of batch
normalisation are those of the whole batch (`synchronised`). So the result is that of one device but
for the order in which numbers are summed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, distributed, nn

from vesselrl.checkpoints import Checkpoints
from vesselrl.devices import best_device
from vesselrl.errors import VesselrlError

Rows = TypeVar("Rows", bound="_Sliceable")


class _Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


def join(rank: int, ranks: int, meeting: Path) -> None:
    """Let this process be one of several that train one network: `Share.own` tells it from now on.

    It does so until it ends: to leave would be to wait for the CUDA graphs in which what it has to
    say to the others is recorded, and after an error for the others.

    Args:
        rank: of this process.
        ranks: how many there are.
        meeting: a file that does not exist yet, through which they find each other.
    """
    # Multicast over NVLink fails in some containers, and a few megabytes do not need it.
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
    device = best_device()
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=meeting.absolute().as_uri(),
        rank=rank,
        world_size=ranks,
        device_id=torch.device("cuda", 0) if device.type == "cuda" else None,
    )


@dataclass(frozen=True)
class Share:
    """What a process has of each batch, and how it agrees with the others.

    Attributes:
        rank: of the process, from 0.
        ranks: how many processes train the network; of one, all below does nothing.
    """

    rank: int = 0
    ranks: int = 1

    @classmethod
    def own(cls) -> Self:
        """That of this process."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    def size(self, batch: int) -> int:
        """Rows of a batch.

        Raises:
            VesselrlError: it cannot be shared evenly.
        """
        if batch % self.ranks:
            raise VesselrlError(
                f"A batch of {batch} cannot be shared evenly by {self.ranks} devices: choose a "
                "batch that is a multiple of their number, or name other devices."
            )
        return batch // self.ranks

    def of(self, drawn: Rows) -> Rows:
        """This process's rows of something with a row for each of the batch."""
        size = self.size(len(drawn))
        rows: Rows = drawn[self.rank * size : (self.rank + 1) * size]
        return rows

    def whole(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of the batch."""
        if self.ranks == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.ranks)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def average(self, tensors: Sequence[Tensor | None]) -> None:
        """Replace tensors (those that are there) by their means over all processes."""
        if self.ranks == 1:
            return
        own = [tensor for tensor in tensors if tensor is not None]
        together = torch.cat([tensor.flatten() for tensor in own])
        distributed.all_reduce(together)
        parts = (together / self.ranks).split([tensor.numel() for tensor in own])
        for tensor, part in zip(own, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def mean(self, value: float) -> float:
        """The mean of a number over all processes, the same on each, so that they decide alike."""
        if self.ranks == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=best_device())
        distributed.all_reduce(number)
        return float(number) / self.ranks


ALONE = Share()


class SharedCheckpoints(Checkpoints):
    """Checkpoints of a training on several devices: all go on from them, the first writes them.

    Args:
        checkpoints: where they are.
        share: of this process.
    """

    def __init__(self, checkpoints: Checkpoints, share: Share) -> None:
        self._checkpoints = checkpoints
        self._share = share

    def load(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """See `Checkpoints.load`; nothing is saved before all have loaded."""
        state = self._checkpoints.load(name, fingerprint)
        self._share.mean(0)
        return state

    def save(self, name: str, fingerprint: str, state: dict[str, Any]) -> None:
        """See `Checkpoints.save`."""
        if self._share.rank == 0:
            self._checkpoints.save(name, fingerprint, state)


def synchronised(network: nn.Module, share: Share, device: torch.device) -> nn.Module:
    """Let a network normalise with the statistics of the whole batch.

    Its weights, its buffers and their names stay.
    """
    if share.ranks == 1:
        return network
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.__class__ = _SyncBatchNorm  # PyTorch's own refuses the CPU
    return network


class _SyncBatchNorm(nn.BatchNorm2d):
    """`torch.nn.SyncBatchNorm` for the CPU."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        share, count = Share.own(), input.numel() // input.shape[1]
        mean = _mean(input.mean((0, 2, 3)), share)
        centred = input - mean[:, None, None]
        variance = _mean(centred.square().mean((0, 2, 3)), share)
        with torch.no_grad():
            unbiased = variance * (count * share.ranks / (count * share.ranks - 1))
            for kept, now in ((self.running_mean, mean), (self.running_var, unbiased)):
                assert kept is not None
                kept.lerp_(now, self.momentum or 0.0)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]


def _mean(tensor: Tensor, share: Share) -> Tensor:
    mean: Tensor = _Mean.apply(tensor, share)  # type: ignore[no-untyped-call]
    return mean


class _Mean(torch.autograd.Function):
    """The mean over all processes; so is its gradient, of what all processes make of it."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, share: Share) -> Tensor:
        context.share = share
        mean = tensor.clone()
        share.average([mean])
        return mean

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        mean = gradients[0].clone()
        context.share.average([mean])
        return mean, None
