"""Named tensors in one safetensors file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


class TensorsDataset(AbstractDataset["dict[str, Tensor]", "dict[str, Tensor]"]):
    """A mapping name → tensor, of any type that torch has ↔ a ``.safetensors`` file."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "dict[str, Tensor]":
        """All tensors, on the CPU.

        Raises:
            VesselrlError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(self._filepath)
        except SafetensorError as error:
            raise VesselrlError(
                f"{self._filepath} is damaged ({error}): delete its folder, and the next run makes "
                "it again."
            ) from error

    def save(self, data: "dict[str, Tensor]") -> None:
        """Replace the file, whole or not at all."""
        from safetensors.torch import save

        content = save({name: tensor.contiguous() for name, tensor in data.items()})
        write_atomically(self._filepath, lambda stream: stream.write(content))

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
