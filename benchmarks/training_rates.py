"""Steps a second of trainings on one device and on several, for `scaling.py`.

Everything is noise and drawn weights, which cost what images and trained ones do. A rate is taken
when all processes are ready, and without the first steps, in which libraries choose their kernels.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import table

from vesselrl.devices import best_device
from vesselrl.networks.data_parallel import Share
from vesselrl.networks.parameters import Norm
from vesselrl.workers import map_on_devices

WARM_UP = 10
"""Steps that are not counted."""
IMAGES = 8
"""That squares are cut from."""
OVER_ONE = 0.9, 0.85
"""Goals, times the number of devices: of trainings apart, and of one training together."""


@dataclass(frozen=True)
class Size:
    """What is trained.

    Attributes:
        features: of the U-Net.
        downscale: of the U-Net.
        norm: of the network that devices train together.
        patch: side of the squares, in pixels.
        batch: of one training that devices share.
        members: of the ensemble, for each device; a member's batch is 16.
        seconds: that a rate is measured for.
    """

    features: tuple[int, ...]
    downscale: int
    norm: Norm
    patch: int
    batch: int
    members: int
    seconds: float


def wait_for_cuda() -> None:
    """Until the GPU has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Apart:
    """Members of a reward network, side by side in threads: item → rate, and the members' weights.

    Attributes:
        size: see there.
        meeting: a folder in which each worker says that it is ready.
        workers: how many there are.
    """

    size: Size
    meeting: Path
    workers: int

    def __call__(self, item: tuple[str, Sequence[int]]) -> tuple[float, dict[int, bytes]]:
        """Train members with these seeds."""
        from vesselrl.threads import one_thread

        with one_thread():
            members = [self.member(seed) for seed in item[1]]
            for member in members:
                for _ in range(WARM_UP):
                    member.step()
            wait_for_cuda()
            learned = {s: digest(m._weights) for s, m in zip(item[1], members, strict=True)}
            (self.meeting / item[0]).touch()
            while len(list(self.meeting.iterdir())) < self.workers:
                time.sleep(0.01)
            started = time.perf_counter()

            def train(member: Any) -> int:
                torch.set_num_threads(1)
                steps = 0
                while time.perf_counter() - started < self.size.seconds:
                    member.step()
                    steps += 1
                return steps

            with ThreadPoolExecutor(len(members)) as threads:
                steps = sum(threads.map(train, members))
            wait_for_cuda()
            return steps / (time.perf_counter() - started), learned

    def member(self, seed: int) -> Any:
        """One member that learns from noise."""
        from vesselrl.reward.batches import residents
        from vesselrl.reward.parameters import TrainingParameters
        from vesselrl.reward.training import Member

        size = self.size
        parameters = TrainingParameters(
            features=list(size.features), downscale=size.downscale, patch=size.patch, batch=16,
            iterations=10**6, learning_rate=1e-3, ema_decay=0.99, members=1, checks=1, patience=1,
            aggregation="min", kappa=0,
        )  # fmt: skip
        rng = np.random.default_rng(0)
        side = size.patch + 16
        example = {
            "image": rng.integers(0, 256, (side, side), dtype=np.uint8),
            "truth": rng.integers(0, 256, (side, side), dtype=np.uint8),
            "maps": rng.integers(0, 256, (8, side, side), dtype=np.uint8),
            "sources": np.array([""] * 4 + ["corrupted"] * 4),
        }
        pool = residents([lambda: example] * IMAGES)
        return Member(parameters, seed, best_device(), pool, [], [])


def digest(weights: Sequence[torch.Tensor]) -> bytes:
    """What tells weights from others."""
    import hashlib

    together = torch.cat([tensor.detach().flatten() for tensor in weights])
    return hashlib.sha256(together.cpu().numpy().tobytes()).digest()


@dataclass(frozen=True)
class Together:
    """One network that devices train together: item → rate, and the mean loss of the first steps.

    Attributes:
        size: see there.
        by_reward: whether it learns by reward, as in `pixel_rl`, or from truths, as in `segmenter`.
    """

    size: Size
    by_reward: bool

    def __call__(self, item: tuple[str, None]) -> tuple[float, float]:
        """Train."""
        from vesselrl.threads import one_thread

        with one_thread():
            share, step = Share.own(), self.learner()
            first = [step() for _ in range(WARM_UP)]
            loss = share.mean(float(torch.stack(first).mean()))
            taken = self.time(step, WARM_UP)
            count = max(WARM_UP, round(self.size.seconds / share.mean(taken) * WARM_UP))
            return count / self.time(step, count), loss

    def time(self, step: Callable[[], Any], count: int) -> float:
        """Seconds of so many steps."""
        wait_for_cuda()
        Share.own().mean(0)  # all begin together
        started = time.perf_counter()
        for _ in range(count):
            step()
        wait_for_cuda()
        return time.perf_counter() - started

    def learner(self) -> Callable[[], torch.Tensor]:
        """A step that returns its loss."""
        from vesselrl.networks.architecture import Architecture
        from vesselrl.networks.augmentation import Augmentation
        from vesselrl.rl.pixel.parameters import PolicyParameters
        from vesselrl.rl.pixel.ppo import PixelLearner
        from vesselrl.segmenters.unet.fitting import SegmenterLearner
        from vesselrl.segmenters.unet.network import SegmentationNetwork
        from vesselrl.segmenters.unet.parameters import UnetTrainingParameters

        size, device = self.size, best_device()
        architecture = Architecture(1, size.features, size.downscale, size.norm)
        strength = Augmentation(shadows=0.3)
        rng, side = np.random.default_rng(0), size.patch + 16
        noise = rng.integers(0, 256, (IMAGES, 3, side, side), dtype=np.uint8)
        pool = [torch.from_numpy(stack).to(device) for stack in noise]
        if not self.by_reward:
            pairs = [stack[:2].contiguous() for stack in pool]
            parameters = UnetTrainingParameters(
                features=list(size.features), downscale=size.downscale, norm=size.norm,
                patch=size.patch, batch=size.batch, iterations=10**6, learning_rate=1e-3,
                ema_decay=0.99, cldice=0,
            )  # fmt: skip
            supervised = SegmenterLearner(architecture, parameters, strength, 0, device)
            return lambda: supervised.step([pairs])
        start = SegmentationNetwork(architecture.build(0).to(device).eval(), architecture, side)
        labelled = size.batch // 4
        policy = PolicyParameters(
            patch=size.patch, unlabelled=size.batch - labelled, labelled=labelled, samples=4,
            inner_steps=2, iterations=10**6, learning_rate=1e-4, ema_decay=0.95, clip=0.2, kl=0.1,
            kappa=2, check_every=10, patience=1,
        )  # fmt: skip
        rewarded = PixelLearner(start, policy, strength, ["dice", "recall"], 0)
        return lambda: rewarded.step(pool, pool).loss


def tell_apart(devices: Sequence[Any], size: Size, folder: Path) -> str:
    """One device trains an ensemble, then all train it: the table."""
    rows = [("devices", "members", "steps/s", "× one", "of ideal", "weights of the first steps")]
    seeds = range(size.members * len(devices))
    rates: list[float] = []
    before: dict[int, bytes] = {}
    for count in sorted({1, len(devices)}):
        meeting = folder / f"apart{count}"
        meeting.mkdir()
        items = [(str(worker), list(seeds[worker::count])) for worker in range(count)]
        found = list(map_on_devices(Apart(size, meeting, count), items, devices[:count]))
        rates.append(sum(rate for rate, _ in found))
        learned = {seed: digest for _, of_one in found for seed, digest in of_one.items()}
        before = before or learned
        same = "equal, bit for bit" if learned == before else "DIFFERENT"
        rows.append((str(count), str(len(seeds)), *compared(rates, count), same))
    goal = f"Goal: {OVER_ONE[0]:g} of ideal."
    return f"## Reward network: members apart, batches of 16\n\n{table(rows)}\n\n{goal}"


def tell_together(devices: Sequence[Any], size: Size, by_reward: bool) -> str:
    """One device trains a network, then all train it together: the table."""
    rows = [("devices", "batch", "steps/s", "× one", "of ideal", "mean loss of the first steps")]
    norm = f"{size.norm} normalisation"
    rates: list[float] = []
    for count in sorted({1, len(devices)}):
        item = [("training", None)]
        ((rate, loss),) = map_on_devices(Together(size, by_reward), item, [devices[:count]])
        rates.append(rate)
        rows.append((str(count), str(size.batch), *compared(rates, count), f"{loss:.5f}"))
    what = "RL on pixels" if by_reward else "Segmenter"
    goal = f"Goal: {OVER_ONE[1]:g} of ideal."
    return f"## {what}: one network together, {norm}\n\n{table(rows)}\n\n{goal}"


def compared(rates: Sequence[float], count: int) -> tuple[str, str, str]:
    """The last rate, as it is, times the first, and that of the ideal."""
    gain = rates[-1] / rates[0]
    return f"{rates[-1]:.2f}", f"{gain:.2f}", f"{gain / count:.2f}"
