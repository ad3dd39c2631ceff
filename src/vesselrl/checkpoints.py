"""What an interrupted training goes on from."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vesselrl.files import write_atomically
from vesselrl.hashes import digest
from vesselrl.torch_files import read_torch

logger = logging.getLogger(__name__)


def training_fingerprint(
    data: Mapping[str, Mapping[str, Callable[[], Mapping[str, Any]]]], made_by: Any
) -> str:
    """What tells one training from another: the content of its data, and its parameters.

    Args:
        data: kind of data → sample id → loader of its arrays, by name.
        made_by: the parameters, JSON-like.
    """
    import numpy as np

    content = hashlib.sha256(digest(made_by).encode())
    for kind, loaders in data.items():
        for sample, load in loaders.items():
            content.update(f"{kind} {sample}".encode())
            for name, array in load().items():
                content.update(f"{name} {array.shape}".encode())
                content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def weight_sums(weights: Mapping[str, Any]) -> list[float]:
    """Of the tensors of a network, to tell it from others in a fingerprint."""
    return [float(tensor.double().sum()) for tensor in weights.values()]


class Checkpoints:
    """A folder that holds the states of what is being trained, each under a name.

    They belong to one training, told by a fingerprint of its data and parameters: the state of
    another is never gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """The state last saved, its tensors on the CPU; None if there is none of this training."""
        file = self._file(name)
        if not file.exists():
            return None
        try:
            with file.open("rb") as stream:
                saved = read_torch(stream)
            state: dict[str, Any] = saved["state"]
            known = saved["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError):
            logger.warning("%s is damaged: training starts from the beginning.", file)
            return None
        if known != fingerprint:
            logger.info(
                "%s is of a training on other data or parameters: training starts from the "
                "beginning.",
                file,
            )
            return None
        return state

    def save(self, name: str, fingerprint: str, state: dict[str, Any]) -> None:
        """Replace what was saved, whole or not at all.

        Args:
            name: of what is trained.
            fingerprint: of the data and the parameters.
            state: tensors and plain values (numbers, texts, lists, dicts of them).
        """
        import torch

        saved = {"fingerprint": fingerprint, "state": state}
        write_atomically(self._file(name), lambda stream: torch.save(saved, stream))

    def clear(self) -> None:
        """The training has ended: forget all states."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.pth"
