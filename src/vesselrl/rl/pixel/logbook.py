"""The history of a training in TensorBoard."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vesselrl.rl.looks import LOOK_TAGS

TAGS = {
    "rollout/ep_rew_mean": "ep_rew_mean",
    **LOOK_TAGS,
    "custom/proxy_objective": "proxy",
    "custom/kl_to_start": "kl",
    "train/policy_loss": "loss",
}
"""TensorBoard tag → column of the history."""


class Logbook:
    """Writes each row of a history once.

    A training that goes on writes its log anew from the first row: what was written after its last
    checkpoint would else be there twice.

    Args:
        folder: of the log.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        self._written = 0

    def tell(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write the rows that are new."""
        for row in history[self._written :]:
            for tag, column in TAGS.items():
                if column in row:
                    self._writer.add_scalar(tag, row[column], int(row["steps"]))
        self._written = len(history)
        self._writer.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._writer.close()
