"""The maps of an image by the number of their prompt, asked for when they are looked at."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vesselrl.segmenters.levels import from_levels

Probability = npt.NDArray[np.float32]

DEFAULT_THRESHOLD = 0.5
"""Of a map if nobody chooses."""


class Maps(Protocol):
    """What gives the map of a prompt, float32 (H, W): an array (P, H, W), or `Answers`."""

    def __getitem__(self, prompt: int, /) -> Probability:
        """The map of the prompt at a position."""


def default_mask(probabilities: Maps, default_prompt: int) -> npt.NDArray[np.bool_]:
    """What the segmenter says if nobody chooses: that prompt's map, cut, bool (H, W)."""
    mask: npt.NDArray[np.bool_] = probabilities[default_prompt] > DEFAULT_THRESHOLD
    return mask


class Answers:
    """Maps that are asked for as they are needed, each once.

    Args:
        ask: numbers of N prompts → their maps as they are stored, uint8 (N, H, W), see
            `vesselrl.segmenters.levels`.
        prompts: how many there are.
    """

    def __init__(self, ask: Callable[[Sequence[int]], npt.NDArray[np.uint8]], prompts: int) -> None:
        self._ask = ask
        self._prompts = prompts
        self._known: dict[int, Probability] = {}

    @property
    def asked(self) -> tuple[int, ...]:
        """Numbers of the prompts that were asked, in ascending order."""
        return tuple(sorted(self._known))

    def __getitem__(self, prompt: int, /) -> Probability:
        """The map of one prompt, float32 (H, W)."""
        return self.of_prompts([prompt])[0]

    def of_prompts(self, prompts: Sequence[int] | None = None) -> Probability:
        """The maps of N prompts, float32 (N, H, W), those unknown asked together.

        Args:
            prompts: their numbers; all there are without.
        """
        wanted = range(self._prompts) if prompts is None else prompts
        if missing := [number for number in dict.fromkeys(wanted) if number not in self._known]:
            self._known |= zip(missing, from_levels(self._ask(missing)), strict=True)
        found = [self._known[number] for number in wanted]
        return np.stack(found) if found else np.empty((0, 0, 0), np.float32)
