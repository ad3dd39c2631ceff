"""Weights of torch networks, with the plain values that describe them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro.utils import load_obj

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically
from vesselrl.states import State, parted
from vesselrl.torch_files import read_torch


class TorchStateDataset(AbstractDataset[State, State]):
    """A dict of tensors and plain values (numbers, texts, lists, dicts of them) ↔ a ``.pth`` file.

    Nothing of what such a file holds is run (`vesselrl.torch_files.read_torch`). Beside it a
    ``.safetensors`` file with the same content is written, for readers that are not torch: tensors
    under dotted names, the plain values as JSON in its metadata, under ``state``.

    Args:
        filepath: the ``.pth`` file.
        holds: dotted name of the class of which it is a state, or a dict of states; what else is
            loaded is refused. Without it any state is loaded.
        metadata: for Kedro's plugins.
    """

    def __init__(
        self, *, filepath: str, holds: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._holds = holds
        self.metadata = metadata

    def load(self) -> State:
        """The state, its tensors on the CPU.

        Raises:
            VesselrlError: the file is damaged, holds something beside tensors and plain values, or
                a state of something else.
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
        if self._holds:
            self._require(self._holds, state)
        return state

    def _require(self, holds: str, state: State) -> None:
        """Refuse what nothing can be made of, while it is known from which file it is."""
        from torch import OutOfMemoryError

        kind = load_obj(holds)
        try:
            for one in _states(state):
                kind.from_state(one)
        except OutOfMemoryError:
            raise
        # A state of something else lacks names, or has values of other types or shapes.
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise VesselrlError(
                f"{self._filepath} holds something else than a {kind.__name__} "
                f"({type(error).__name__}: {error!s:.200}). Delete it, and the next run trains the "
                "network again."
            ) from error

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


def _states(state: State) -> Iterator[State]:
    """The state itself, or each of a dict of states: these hold nothing but dicts."""
    if state and all(isinstance(value, dict) for value in state.values()):
        yield from state.values()
    else:
        yield state
