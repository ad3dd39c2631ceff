"""What a map depends on, as a short text: a map whose key is known need not be made again."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl import extensions
from vesselrl.segmenters import levels
from vesselrl.segmenters.base import segmenter_class
from vesselrl.segmenters.parameters import SegmenterParameters


class MapKeys:
    """Gives the keys of the maps of an image.

    A key depends on the image's pixels, the prompt and its settings, the settings of the segmenter
    that are not about prompts (what tells its weights apart among them), and its code. It does not
    depend on the other prompts, nor on what changes no result: parameters with ``exclude=True``.
    """

    def __init__(self, parameters: SegmenterParameters) -> None:
        """Note everything but the image."""
        settings = parameters.model_dump(mode="json")
        prompts: Mapping[str, Any] = settings.pop("prompts")
        del settings["default_prompt"]
        common = [settings, code_of(parameters.kind)]
        self._of_prompts = {
            name: _digest(json.dumps([common, name, of_prompt]).encode())
            for name, of_prompt in prompts.items()
        }

    def of(self, image: npt.NDArray[np.uint8]) -> dict[str, str]:
        """Prompt → key, in the order of the parameters.

        Args:
            image: uint8 (H, W) or (H, W, 3).
        """
        pixels = hashlib.sha256(f"{image.dtype.str}{image.shape}".encode())
        pixels.update(image.tobytes())
        return {
            name: _digest(f"{of_prompt} {pixels.hexdigest()}".encode())
            for name, of_prompt in self._of_prompts.items()
        }


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def code_of(kind: str) -> str:
    """A hash of the code of a segmenter: of its class's module and those of the bases it has here.

    Of a module in a package of its own, the whole package counts; extensions are one module each.
    """
    own = segmenter_class(kind)
    ours = [one for one in own.__mro__ if one is own or one.__module__.startswith("vesselrl.")]
    here = Path(levels.__file__)
    is_foreign = not own.__module__.startswith("vesselrl.")
    files = {here}
    for one in ours:
        file = Path(inspect.getfile(one))
        is_extension = one.__module__.startswith(f"{extensions.__name__}.")
        is_alone = file.parent == here.parent or is_extension or is_foreign
        files.update([file] if is_alone else file.parent.glob("*.py"))
    return _digest(b"".join(file.read_bytes() for file in sorted(files)))
