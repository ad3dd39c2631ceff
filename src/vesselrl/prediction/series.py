"""Choices that neighbouring frames of a series share.

A method that chooses for every frame by itself may choose differently for frames that hardly
differ, and the mask flickers. So a frame's choice is put to the vote of the frames around it: a
majority vote (Lam and Suen, "Application of majority voting to pattern recognition", IEEE
Transactions on Systems, Man, and Cybernetics A 27, 1997, doi:10.1109/3468.618255) in a window that
slides along the series, as a running median smooths a sequence of numbers. Of choices with several
parts the prompt is voted on first; the frames that chose it vote on the threshold, and those that
chose both on the operation: what wins was chosen by a frame as a whole.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.evaluation.methods import Decision
from vesselrl.prediction.predictor import Chosen, Prediction, Predictor

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Ballot:
    """An image and those that vote on what is chosen for it.

    Attributes:
        own: id of the image.
        around: id → loader, uint8 (H, W) or (H, W, 3), of all that vote, in their order, the image
            among them; of an image that is no frame of a series it alone.
    """

    own: str
    around: Mapping[str, Callable[[], Image]]

    def __call__(self) -> "Ballot":
        """The same with its image loaded; of several, each is loaded as it is looked at."""
        if len(self.around) > 1:  # most are known from the frames before
            return self
        image = self.around[self.own]()
        return replace(self, around={self.own: lambda: image})


def vote(decisions: Sequence[Decision], own: int) -> Decision:
    """What most of these frames decided, part by part; see the module.

    Args:
        decisions: in the order of the frames, at least one.
        own: place of the frame that is voted on: in a tie, its own choice wins, else the nearest.
    """
    left = sorted(range(len(decisions)), key=lambda place: abs(place - own))
    for part in range(max(len(_parts(decision)) for decision in decisions)):
        votes = Counter(_parts(decisions[place])[part : part + 1] for place in left)
        winner, _ = votes.most_common(1)[0]  # of equal ones the first, and so the nearest
        left = [place for place in left if _parts(decisions[place])[part : part + 1] == winner]
    return decisions[left[0]]


def _parts(decision: Decision) -> tuple[Any, ...]:
    """What is voted on one after the other."""
    if decision.chooses == "setting" and decision.state:
        return decision.state[0]
    return (decision.state,)


class SeriesPredictor:
    """Applies a recipe to images, of which those of a series choose together.

    Args:
        predictor: of single images.
        window: the most images that vote.
    """

    def __init__(self, predictor: Predictor, window: int) -> None:
        self._predictor = predictor
        self._window = window
        self._known: OrderedDict[str, Chosen | None] = OrderedDict()  # None: it failed

    def __reduce__(self) -> tuple[Any, ...]:
        # what is remembered stays here: another process sees other frames
        return SeriesPredictor, (self._predictor, self._window)

    def predict(self, ballot: Ballot) -> Prediction:
        """The mask of an image, and how far it may be trusted.

        What was chosen for the last few frames is remembered, so that of frames in their order each
        is looked at once. A frame that fails has no vote, and is named as ``absent``; it is tried
        once more when it is its own turn.

        Raises:
            VesselrlError: see `Predictor.predict`.
            PromptsFailed: likewise.
        """
        own, around = ballot.own, ballot.around
        image = around[own]()
        started = time.perf_counter()
        if len(around) == 1 or self._predictor.recipe.method.kind == "network":
            return self._predictor.predict(image)
        mine = self._choose(own, lambda: image)
        others = {name: self._vote_of(name, load) for name, load in around.items() if name != own}
        decisions = {name: chosen.decision for name in around if (chosen := others.get(name, mine))}
        decision = vote([*decisions.values()], [*decisions].index(own))
        made = self._predictor.predict(image, replace(mine, decision=decision))
        absent = tuple(name for name in around if name not in decisions)
        return replace(made, seconds=time.perf_counter() - started, absent=absent)

    def _vote_of(self, name: str, load: Callable[[], Image]) -> Chosen | None:
        """What a neighbour chooses; None if it fails, now or before."""
        if name in self._known and self._known[name] is None:
            return None
        try:
            return self._choose(name, load)
        except Exception:  # whatever it is, that frame's own row tells it
            return None

    def _choose(self, name: str, load: Callable[[], Image]) -> Chosen:
        chosen = self._known.pop(name, None)
        try:
            chosen = chosen or self._predictor.choose(load())
        finally:
            self._known[name] = chosen
            while len(self._known) > self._window:
                self._known.popitem(last=False)
        return chosen
