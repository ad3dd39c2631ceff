"""Training of one segmenter a seed, in whichever process."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
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
from vesselrl.rl.pixel.parameters import PolicyParameters
from vesselrl.rl.pixel.policy import TrainedSegmenter, train_segmenter, trained_segmenter
from vesselrl.rl.pixel.reward_maps import resident
from vesselrl.rl.run_folder import LOG, RESUME, STATE
from vesselrl.segmenters.unet.network import SegmentationNetwork

StackLoader = Callable[[], npt.NDArray[np.uint8]]
"""Loader of what `vesselrl.rl.pixel.reward_maps.rewarded` or `labelled` gave of an image."""


@dataclass(frozen=True)
class Seeds:
    """A job for `vesselrl.networks.trainings.spread`: one training a seed, one after the other.

    Attributes:
        start: state of the `SegmentationNetwork` that each training starts from.
        unlabelled: images judged by the reward.
        labelled: images judged by their truth.
        guard: see `train_segmenter`; it also names the objective.
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

    def __call__(self, names: Sequence[str], tell: Tell) -> None:
        """Train, or go on."""
        for name in names:
            with ExitStack() as stack:
                logs: dict[str, Any] = {}
                if Share.own().rank == 0:
                    book = stack.enter_context(closing(Logbook(self.folders[name] / LOG)))
                    logs = {"tell": book.tell}
                train_segmenter(
                    SegmentationNetwork.from_state(self.start),
                    resident(self.unlabelled),
                    resident(self.labelled),
                    self.guard,
                    self.parameters,
                    self.strength,
                    self.guard.objective,
                    int(name),
                    self._checkpoints(name),
                    self.fingerprint,
                    progress=partial(tell, name),
                    **logs,
                )

    def trained(self, name: str) -> TrainedSegmenter:
        """What came of a seed's training."""
        state = self._checkpoints(name).load(STATE, self.fingerprint) or {}
        start = SegmentationNetwork.from_state(self.start)
        return trained_segmenter(start, self.parameters, state)

    def _checkpoints(self, name: str) -> Checkpoints:
        return Checkpoints(self.folders[name] / RESUME)
