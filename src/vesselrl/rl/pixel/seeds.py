"""One training a seed, each in a folder of its own, in whichever process."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.checkpoints import Checkpoints
from vesselrl.networks.augmentation import Augmentation
from vesselrl.networks.data_parallel import Share
from vesselrl.networks.trainings import Tell
from vesselrl.rl.pixel.guard import Guard
from vesselrl.rl.pixel.logbook import Logbook
from vesselrl.rl.pixel.parameters import LearningParameters, PolicyParameters
from vesselrl.rl.pixel.ppo import PixelLearner
from vesselrl.rl.pixel.reward_maps import resident
from vesselrl.rl.pixel.training import Learned, PolicyLearner, Progress, State, learn, learned
from vesselrl.rl.run_folder import LOG, RESUME, STATE
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.threads import one_thread

StackLoader = Callable[[], npt.NDArray[np.uint8]]
"""Loader of what `vesselrl.rl.pixel.reward_maps.rewarded` or `labelled` gave of an image."""


def learn_in(
    folder: Path,
    learner: PolicyLearner,
    unlabelled: Any,
    labelled: Any,
    guard: Guard,
    parameters: LearningParameters,
    fingerprint: str,
    progress: Progress,
) -> State:
    """Let a learner learn with its checkpoints and its log in a folder; see `learn`.

    Of several processes that train it together the first writes the log.
    """
    alone = Share.own().rank == 0
    with closing(Logbook(folder / LOG)) if alone else nullcontext() as book:
        tell = book.tell if book else _say_nothing
        checkpoints = Checkpoints(folder / RESUME)
        return learn(
            learner, unlabelled, labelled, guard, parameters, checkpoints, fingerprint, tell,
            progress,
        )  # fmt: skip


def _say_nothing(history: Sequence[Mapping[str, float]]) -> None:
    """For the processes beside the first."""


@dataclass(frozen=True)
class Seeds:
    """A job for `vesselrl.networks.trainings.spread`: one training a seed, one after the other.

    Attributes:
        start: state of the `SegmentationNetwork` that each training starts from.
        unlabelled: images judged by the reward.
        labelled: images judged by their truth.
        guard: which images are looked at, who judges them, and by which objective.
        parameters: of learning.
        strength: of the squares' augmentation.
        folders: seed, as text → where its checkpoints and logs are written.
        fingerprint: of data and parameters.
    """

    start: Mapping[str, Any]
    unlabelled: Sequence[StackLoader]
    labelled: Sequence[StackLoader]
    guard: Guard
    parameters: PolicyParameters
    strength: Augmentation
    folders: Mapping[str, Path]
    fingerprint: str

    @one_thread()
    def __call__(self, names: Sequence[str], tell: Tell) -> None:
        """Train, or go on."""
        for name in names:
            start = SegmentationNetwork.from_state(self.start)
            learn_in(
                self.folders[name],
                PixelLearner(
                    start, self.parameters, self.strength, self.guard.objective, int(name)
                ),
                resident(self.unlabelled),
                resident(self.labelled),
                self.guard,
                self.parameters,
                self.fingerprint,
                partial(tell, name),
            )

    def learned(self, name: str) -> Learned:
        """What came of a seed's training."""
        checkpoints = Checkpoints(self.folders[name] / RESUME)
        return learned(self.parameters, checkpoints.load(STATE, self.fingerprint) or {})
