"""Stable-Baselines3 models."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically
from vesselrl.torch_files import read_torch

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from vesselrl.rl.policy import Policy

_HIDDEN_LAYER = re.compile(r"mlp_extractor\.policy_net\.(\d+)\.weight")
LARGEST = 2**27
"""Bytes of all parts of a file: a policy of ours has less than a thousandth."""
_EXPECTED = "expected final_model.zip, or a checkpoint, of an experiment of vesselrl"


class Sb3ModelDataset(AbstractDataset["BaseAlgorithm", "Policy"]):
    """A model → Stable-Baselines3's zip file → the policy in it.

    Such a file holds pickled objects, which can run code when Stable-Baselines3 loads it. Nothing
    is unpickled here, so a file of any origin does no harm: the weights are read as tensors alone
    (`vesselrl.torch_files.read_torch`), and what the policy sees and chooses from stands in the
    file as plain JSON.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "Policy":
        """The policy for deployment.

        Raises:
            VesselrlError: there is no such file, it is damaged, or it is no policy of vesselrl.
        """
        from vesselrl.rl.policy import Policy

        if not self._filepath.is_file():
            raise VesselrlError(f"{self._filepath} does not exist: {_EXPECTED}.")
        if not zipfile.is_zipfile(self._filepath):
            raise VesselrlError(f"{self._filepath} is not a zip file, or is damaged: {_EXPECTED}.")
        data, state = self._parts()
        settings = data.get("deployment")
        if not settings:
            raise VesselrlError(
                f"{self._filepath} does not tell what its policy sees and chooses from, as models "
                f"trained by vesselrl do: {_EXPECTED}."
            )
        try:
            return Policy.from_parts(settings, _weights(settings, state))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise VesselrlError(
                f"The policy in {self._filepath} does not fit what the file tells of it ({error}): "
                f"{_EXPECTED}."
            ) from error

    def save(self, data: "BaseAlgorithm") -> None:
        """Replace the file."""
        write_atomically(self._filepath, data.save)

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the file tells in the clear, and the weights, by Stable-Baselines3's names."""
        try:
            with zipfile.ZipFile(self._filepath) as archive:
                if sum(part.file_size for part in archive.infolist()) > LARGEST:
                    raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
                data = json.loads(archive.read("data"))
                weights = io.BytesIO(archive.read("policy.pth"))
            return dict(data), dict(read_torch(weights))
        except Exception as error:  # damaged archives raise errors of many kinds
            raise VesselrlError(
                f"{self._filepath} cannot be read as a model of Stable-Baselines3 "
                f"({type(error).__name__}: {error!s:.200}): {_EXPECTED}."
            ) from error

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def _weights(settings: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a `vesselrl.rl.policy.Policy`."""
    import numpy as np

    hidden = sorted(int(match[1]) for match in map(_HIDDEN_LAYER.fullmatch, state) if match)
    layers = [*(f"mlp_extractor.policy_net.{number}" for number in hidden), "action_net"]
    return {name: np.array(settings[name], np.float32) for name in ("mean", "scale")} | {
        f"layer.{number}.{part}": state[f"{layer}.{part}"].numpy()
        for number, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
