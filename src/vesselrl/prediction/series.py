"""Frames of one series: their ids and order, and choices that neighbours share.

A method that chooses for every frame by itself may choose differently for frames that hardly
differ, and the mask flickers. So a frame's choice is put to the vote of the frames around it: a
majority vote (Lam and Suen, "Application of majority voting to pattern recognition", IEEE
Transactions on Systems, Man, and Cybernetics A 27, 1997) in a window that slides along the series,
as a running median smooths a sequence of numbers. Of choices with several parts the prompt is
voted on first; the frames that chose it vote on the threshold, and those that chose both on the
operation: what wins was chosen by a frame as a whole.
"""

import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.annotations.acceptance import sample_ids
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.methods import Decision
from vesselrl.prediction.predictor import Chosen, Prediction, Predictor

Image = npt.NDArray[np.uint8]

DIGITS = 4
"""A frame's number has at least so many, that names stand in the order of the frames."""


@dataclass(frozen=True)
class Frame:
    """An image that is to be segmented.

    Attributes:
        id: fit for a file name; of a series' frame ``<series>_<number>``, the number from 1.
        file: where it is, relative to the folder of the images.
        number: which of a file of several, from 1; None if it holds one.
        series: of which it is a part; None if it stands alone.
    """

    id: str
    file: str
    number: int | None
    series: str | None


def arranged(frames_in: Mapping[str, int], folders: bool) -> list[Frame]:
    """Images and series as frames, those of a series one after the other in their order.

    Args:
        frames_in: file, relative to the folder of the images → how many frames it holds. A file of
            several is a series.
        folders: whether each folder within that folder is a series, too, whose frames are its files
            of one picture, in the order of the numbers in their names.

    Raises:
        VesselrlError: two frames would have the same id.
    """
    members: dict[str, list[tuple[str, int | None]]] = {}
    for file in sorted(frames_in, key=_natural):
        count, folder = frames_in[file], PurePosixPath(file).parent.as_posix()
        if count > 1:
            members[file] = [(file, number) for number in range(1, count + 1)]
        elif folders and folder != ".":
            members.setdefault(folder, []).append((file, None))
        else:
            members[file] = [(file, None)]
    names = sample_ids(members)
    frames = []
    for source, parts in members.items():
        name = names[source]
        if parts == [(source, None)]:
            frames.append(Frame(name, source, None, None))
            continue
        digits = max(DIGITS, len(str(len(parts))))
        frames += [
            Frame(f"{name}_{place:0{digits}}", file, number, name)
            for place, (file, number) in enumerate(parts, 1)
        ]
    _check_ids(frames)
    return frames


def _natural(file: str) -> list[Any]:
    """Sorts names by the numbers in them: ``f2`` before ``f10``."""
    parts = re.split(r"([0-9]+)", file)  # every second one is a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _check_ids(frames: Iterable[Frame]) -> None:
    seen: dict[str, str] = {}
    for frame in frames:
        if (other := seen.setdefault(frame.id, frame.file)) != frame.file:
            raise VesselrlError(
                f"{other} and {frame.file} would both be called {frame.id}: rename one of them."
            )


def neighbours(frames: Sequence[Frame], place: int, window: int) -> range:
    """Places of the frames that vote on that at a place: those of its series within the window.

    Args:
        frames: as `arranged` gives them.
        place: of a frame among them.
        window: how many frames vote, an odd number: the frame and as many before as after it.
    """
    series, half = frames[place].series, window // 2
    if series is None:
        return range(place, place + 1)
    around = range(max(0, place - half), min(len(frames), place + half + 1))
    within = [other for other in around if frames[other].series == series]
    return range(within[0], within[-1] + 1)


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
    """Applies a recipe to the frames of series.

    Args:
        predictor: of single images.
        window: how many frames vote on a frame's choice, an odd number; 1 leaves each its own.
    """

    def __init__(self, predictor: Predictor, window: int) -> None:
        self._predictor = predictor
        self._window = window
        self._known: OrderedDict[str, Chosen] = OrderedDict()

    def predict(self, around: Mapping[str, Callable[[], Image]], own: str) -> Prediction:
        """The mask of a frame, and how far it may be trusted.

        What was chosen for the last few frames is remembered, so that of frames in their order each
        is looked at once.

        Args:
            around: id → loader of its image, uint8 (H, W) or (H, W, 3): the frames that vote, in
                their order, this one among them. One that fails has no vote.
            own: id of the frame.

        Raises:
            VesselrlError: see `Predictor.predict`.
            PromptsFailed: likewise.
        """
        image = around[own]()
        started = time.perf_counter()
        if len(around) == 1 or self._predictor.recipe.method.kind == "network":
            return self._predictor.predict(image)
        chosen = {own: self._choose(own, lambda: image)}
        for name, load in around.items():
            if name != own:
                try:
                    chosen[name] = self._choose(name, load)
                except Exception:  # whatever it is, that frame's own row tells it
                    continue
        order = [name for name in around if name in chosen]
        decision = vote([chosen[name].decision for name in order], order.index(own))
        made = self._predictor.predict(image, replace(chosen[own], decision=decision))
        return replace(made, seconds=time.perf_counter() - started)

    def _choose(self, name: str, load: Callable[[], Image]) -> Chosen:
        chosen = self._known.pop(name, None) or self._predictor.choose(load())
        self._known[name] = chosen
        while len(self._known) > self._window:
            self._known.popitem(last=False)
        return chosen
