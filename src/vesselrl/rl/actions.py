"""What an experiment's actions mean: how a sequence of choices becomes a mask.

A *state* is the tuple of the choices made so far in an episode; ``()`` is the beginning, where the
default answer stands (the default prompt's map at 0.5). Three kinds of choice exist:

- ``setting``: a prompt, a threshold and an operation at once; the last choice counts;
- ``prompts``: prompts whose maps are averaged, then cut at 0.5;
- ``operations``: operations that are applied one after the other to the default mask.

The operation list begins with ``keep``, which changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from vesselrl.rl.operations import Mask, Probability, apply_operation
from vesselrl.rl.parameters import ActionParameters, ExperimentParameters, Operation
from vesselrl.segmenters.answers import DEFAULT_THRESHOLD, Maps, default_mask

KEEP = "keep"

Choice = tuple[int, ...]
State = tuple[Choice, ...]


class Setting(NamedTuple):
    """A prompt, a threshold and an operation, by their positions in the lists of `ActionSet`."""

    prompt: int
    threshold: int
    operation: int


@dataclass(frozen=True)
class ActionSet:
    """All prompts, thresholds and operations there are to choose from.

    Attributes:
        prompts: names of the prompts, in the order of the stored maps.
        default_prompt: position of the prompt that is used when nobody chooses.
        thresholds: probabilities above which a pixel is vessel.
        operations: name → operation; ``keep`` is not among them.
    """

    prompts: tuple[str, ...]
    default_prompt: int
    thresholds: tuple[float, ...]
    operations: dict[str, Operation]

    @classmethod
    def of(
        cls, prompts: list[str], default_prompt: str, parameters: ActionParameters
    ) -> "ActionSet":
        """The action set of the segmenter's prompts and of the parameters."""
        return cls(
            prompts=tuple(prompts),
            default_prompt=prompts.index(default_prompt),
            thresholds=tuple(parameters.thresholds),
            operations=dict(parameters.operations),
        )

    @property
    def operation_names(self) -> tuple[str, ...]:
        """``keep``, then the operations."""
        return (KEEP, *self.operations)

    @property
    def settings(self) -> list[Setting]:
        """Every combination of prompt, threshold and operation, prompts outermost."""
        shape = (len(self.prompts), len(self.thresholds), len(self.operation_names))
        return [Setting(*map(int, index)) for index in np.ndindex(*shape)]

    def setting_mask(self, probabilities: Maps, setting: Setting) -> Mask:
        """The mask of one setting.

        Args:
            probabilities: the maps of all prompts.
            setting: which map, cut where, changed how.

        Returns:
            bool (H, W).
        """
        probability = probabilities[setting.prompt]
        mask: Mask = probability > self.thresholds[setting.threshold]
        return self.operate(mask, probability, setting.operation)

    def masks_by_prompt(self, probabilities: Maps) -> Iterator[npt.NDArray[np.bool_]]:
        """The masks of all `settings` in their order, a prompt's at a time, each bool (N, H, W)."""
        for _, settings in groupby(self.settings, key=lambda setting: setting.prompt):
            yield np.stack([self.setting_mask(probabilities, setting) for setting in settings])

    def operate(self, mask: Mask, probability: Probability, operation: int) -> Mask:
        """Apply the operation at a position of `operation_names`."""
        name = self.operation_names[operation]
        return mask if name == KEEP else apply_operation(self.operations[name], mask, probability)

    def default_mask(self, probabilities: Maps) -> Mask:
        """The default prompt's map cut at 0.5, bool (H, W)."""
        return default_mask(probabilities, self.default_prompt)

    def describe(self, setting: Setting) -> dict[str, object]:
        """The setting in names: prompt, threshold, operations."""
        return {
            "prompt": self.prompts[setting.prompt],
            "threshold": self.thresholds[setting.threshold],
            "operations": self.operation_names[setting.operation],
        }


@dataclass(frozen=True)
class Rules:
    """How an experiment turns choices into masks; see the module's docstring."""

    actions: ActionSet
    chooses: Literal["prompts", "operations", "setting"]
    length: int

    @classmethod
    def of(cls, actions: ActionSet, experiment: ExperimentParameters) -> "Rules":
        """The rules of an experiment."""
        return cls(actions, experiment.chooses, experiment.episode_length)

    @property
    def choices(self) -> tuple[int, ...]:
        """The number of options of each part of an action, as `gymnasium.spaces.MultiDiscrete`."""
        actions = self.actions
        return {
            "prompts": (len(actions.prompts),),
            "operations": (len(actions.operation_names),),
            "setting": (
                len(actions.prompts),
                len(actions.thresholds),
                len(actions.operation_names),
            ),
        }[self.chooses]

    def extend(self, state: State, choice: Choice) -> State:
        """The state after one more choice; states that give the same mask are the same tuple.

        Examples:
            >>> rules = Rules(ActionSet(("tree", "trunk"), 0, (0.5,), {}), "prompts", length=2)
            >>> rules.extend(rules.extend((), (1,)), (0,))
            ((0,), (1,))
        """
        if self.chooses == "setting":
            return (choice,)
        longer = (*state, choice)
        if self.chooses == "prompts":
            return tuple(sorted(longer))
        return tuple(c for c in longer if c != (0,)) or ((0,),)

    def prompts_used(self, state: State) -> tuple[int, ...]:
        """Positions of the prompts that a state needs the segmenter for."""
        if state and self.chooses == "setting":
            return (state[0][0],)
        if state and self.chooses == "prompts":
            return tuple(sorted({choice[0] for choice in state}))
        return (self.actions.default_prompt,)

    def answer(self, probabilities: Maps, state: State) -> tuple[Mask, Probability]:
        """The mask that a state stands for, and the map it came from.

        Args:
            probabilities: the maps of all prompts; only those of `prompts_used` are read.
            state: the choices so far.

        Returns:
            The mask, bool (H, W), and the map, float32 (H, W).
        """
        actions = self.actions
        if state and self.chooses == "setting":
            setting = Setting(*state[0])
            return actions.setting_mask(probabilities, setting), probabilities[setting.prompt]
        if state and self.chooses == "prompts":
            mean = np.stack([probabilities[choice[0]] for choice in state]).mean(0)
            return np.asarray(mean > DEFAULT_THRESHOLD), mean
        mask, probability = (
            actions.default_mask(probabilities),
            probabilities[actions.default_prompt],
        )
        for choice in state:
            mask = actions.operate(mask, probability, choice[0])
        return mask, probability

    def describe(self, state: State) -> dict[str, object]:
        """The state in names: prompt, threshold, operations."""
        actions = self.actions
        if state and self.chooses == "setting":
            return actions.describe(Setting(*state[0]))
        names = [actions.prompts[p] for p in self.prompts_used(state)]
        operations = [
            actions.operation_names[choice[0]] for choice in state if self.chooses == "operations"
        ]
        counted = [(name, len(list(run))) for name, run in groupby(operations)]
        return {
            "prompt": " + ".join(names),
            "threshold": DEFAULT_THRESHOLD,
            "operations": ", ".join(n if k == 1 else f"{n} ×{k}" for n, k in counted) or KEEP,
        }
