"""Weights of torch networks, with the plain values that describe them."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically
from vesselrl.states import State, parted
from vesselrl.torch_files import read_torch


class TorchStateDataset(AbstractDataset[State, State]):
    """A dict of tensors and plain values (numbers, texts, lists, dicts of them) ↔ a ``.pth`` file.

    Nothing of what such a file holds is run (`vesselrl.torch_files.read_torch`). Beside it a
    ``.safetensors`` file with the same content is written, for readers that are not torch: tensors
    under dotted names, the plain values as JSON in its metadata, under ``state``.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> State:
        """The state, its tensors on the CPU.

        Raises:
            VesselrlError: the file is damaged, or holds something beside tensors and plain values.
        """
        try:
            with self._filepath.open("rb") as stream:
                state = read_torch(stream)
        except ValueError as error:
            raise VesselrlError(
                f"{self._filepath} cannot be loaded: it is damaged, or holds something beside "
                f"tensors and plain values, which is refused because loading it could run code "
                f"({error}). Delete it, and the next run trains the network again."
            ) from error
        if not isinstance(state, dict):
            raise VesselrlError(
                f"{self._filepath} holds a {type(state).__name__}; expected the "
                "dict that a run writes. Delete it, and the next run trains the network again."
            )
        return state

    def save(self, data: State) -> None:
        """Replace both files, each whole or not at all."""
        import torch
        from safetensors.torch import save

        plain, tensors = parted(data)
        flat = save(tensors, metadata={"state": plain})
        write_atomically(self._filepath, lambda stream: torch.save(data, stream))
        beside = self._filepath.with_suffix(".safetensors")
        write_atomically(beside, lambda stream: stream.write(flat))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
