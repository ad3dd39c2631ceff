"""Stable-Baselines3 models."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from vesselrl.files import write_atomically

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


class Sb3ModelDataset(AbstractDataset["BaseAlgorithm", NoReturn]):
    """Writes a model as Stable-Baselines3's zip file.

    It is not read back: such a file holds pickled objects, which can run code when loaded. The
    policy itself is beside it in ``policy.safetensors``.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> NoReturn:
        """Refused, see the class."""
        raise DatasetError(
            f"{self._filepath} holds pickled objects and is not loaded; use policy.safetensors "
            "beside it, or stable_baselines3.PPO.load if you know where the file comes from."
        )

    def save(self, data: "BaseAlgorithm") -> None:
        """Replace the file."""
        write_atomically(self._filepath, data.save)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
