"""Trainings that do not depend on each other: side by side on a device, spread over several."""

import logging
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

import torch

from vesselrl.checkpoints import Checkpoints
from vesselrl.networks.data_parallel import Share, SharedCheckpoints
from vesselrl.progress import SharedProgress
from vesselrl.threads import one_thread
from vesselrl.workers import Item, Place, map_on_devices

logger = logging.getLogger(__name__)

Tell = Callable[[str, int], None]
"""Receives the name of a training and how many steps it has made."""
Job = Callable[[Sequence[str], Tell], Any]
"""Trains what is named, leaving the results in checkpoints."""


class Training(Protocol):
    """A training that can be broken off after any check and gone on with."""

    @property
    def iteration(self) -> int:
        """Steps made."""

    @property
    def due(self) -> bool:
        """Whether it is time for a check."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to do; it becomes so at a check."""

    def step(self) -> None:
        """One step of the optimiser."""

    def check(self) -> None:
        """Find out how good it is now."""

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, right after a check; of tensors and plain values."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken."""


@dataclass(frozen=True)
class SideBySide:
    """A job: each training in a thread of its own, its state saved at every check.

    Torch leaves Python to the other threads while it computes. Where several devices train one
    network, one thread does all: the processes must agree in which order they wait for each other.

    Attributes:
        make: from a training's name to the training as it begins.
        checkpoints: where the states are kept.
        fingerprint: of the data and the parameters.
    """

    make: Callable[[str], Training]
    checkpoints: Checkpoints
    fingerprint: str

    @one_thread()
    def __call__(self, names: Sequence[str], tell: Tell) -> None:
        """Train, or go on."""
        share = Share.own()
        checkpoints = SharedCheckpoints(self.checkpoints, share)
        trainings = {name: self.make(name) for name in names}
        interrupted = Event()

        def train(name: str) -> None:
            training = trainings[name]
            if saved := checkpoints.load(name, self.fingerprint):
                training.load_state(saved)
            tell(name, training.iteration)
            while not training.finished and not interrupted.is_set():
                training.step()
                tell(name, training.iteration)
                if training.due:
                    training.check()
                    checkpoints.save(name, self.fingerprint, training.state())

        most = None if share.ranks == 1 else 1
        with ThreadPoolExecutor(most, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            try:
                for one in [threads.submit(train, name) for name in names]:
                    one.result()
            except BaseException:
                interrupted.set()
                raise


def spread(
    job: Job, names: Sequence[str], devices: Sequence[Place] | None, title: str, steps: int
) -> None:
    """Do a job on several devices: each works on its share of the trainings.

    Processes, not threads: small networks keep Python so busy that two GPUs would wait for it.

    Args:
        job: picklable unless `devices` is None.
        names: of the trainings, dealt to the devices in turn.
        devices: of each worker process, one that is named twice has two; None is this process, on
            the best device.
        title: of the progress bar.
        steps: of each training, if none ends early.

    Raises:
        VesselrlError: see `vesselrl.workers.map_on_devices`.
        Exception: whatever the job raises.
    """
    progress = SharedProgress(names)
    with progress.shown(title, steps * len(names)):
        if devices is None:
            job(names, progress.tell)
            return
        if len(devices) > len(names):
            logger.warning(
                "%s: %d of the devices have nothing to train.", title, len(devices) - len(names)
            )
        # As bytes: multiprocessing would pass each tensor by a file descriptor, too many for it.
        work = _Pickled(pickle.dumps(job), progress.tell)
        shares = [names[first :: len(devices)] for first in range(min(len(devices), len(names)))]
        items = [(", ".join(share), share) for share in shares]
        with closing(map_on_devices(work, items, devices)) as done:
            for _ in done:
                pass


@dataclass(frozen=True)
class _Pickled:
    """What a worker process does with its share of the trainings."""

    job: bytes
    tell: Tell

    def __call__(self, item: Item[Sequence[str]]) -> None:
        job: Job = pickle.loads(self.job)
        job(item[1], self.tell if Share.own().rank == 0 else _say_nothing)


def _say_nothing(name: str, iteration: int) -> None:
    """For the processes beside the first of a team."""
