"""Policies for deployment: weights as safetensors, all else as JSON."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from vesselrl.errors import VesselrlError
from vesselrl.files import write_atomically

if TYPE_CHECKING:
    from vesselrl.rl.policy import Policy


class PolicyDataset(AbstractDataset["Policy", "Policy"]):
    """A `vesselrl.rl.policy.Policy` ↔ ``policy.safetensors`` and, beside it, ``policy.json``.

    The JSON file holds the SHA-256 of the weights, so that two policies' files are not mixed up.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._weights = Path(filepath)
        self._settings = self._weights.with_suffix(".json")
        self.metadata = metadata

    def load(self) -> "Policy":
        """The policy; nothing in the files is run.

        Raises:
            VesselrlError: the files are damaged or do not belong together.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        from vesselrl.rl.policy import Policy

        try:
            settings = json.loads(self._settings.read_text(encoding="utf-8"))
            weights = self._weights.read_bytes()
            if settings["weights_sha256"] != hashlib.sha256(weights).hexdigest():
                raise ValueError("the two files do not belong together")
            return Policy.from_parts(settings, load(weights))
        except (ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise VesselrlError(
                f"{self._weights} and {self._settings.name} are no policy of vesselrl ({error}): "
                "train it again with kedro run --pipeline experiments."
            ) from error

    def save(self, data: "Policy") -> None:
        """Replace both files."""
        import numpy as np
        from safetensors.numpy import save

        weights = save({name: np.ascontiguousarray(w) for name, w in data.weights.items()})
        digest = {"weights_sha256": hashlib.sha256(weights).hexdigest()}
        settings = json.dumps(data.settings() | digest, indent=1)
        write_atomically(self._settings, lambda stream: stream.write(settings.encode()))
        write_atomically(self._weights, lambda stream: stream.write(weights))

    def preview(self) -> JSONPreview:
        """What the policy chooses from, for ``kedro viz``."""
        return JSONPreview(self._settings.read_text(encoding="utf-8"))

    def _exists(self) -> bool:
        return self._weights.is_file() and self._settings.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._weights)}
