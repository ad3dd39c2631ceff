"""A policy for deployment: plain arrays and settings, no pickle, no Stable-Baselines3."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesselrl.rl.actions import Choice, Rules, State
from vesselrl.rl.observations import Features, Observer

if TYPE_CHECKING:
    from stable_baselines3 import PPO

Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Policy:
    """A multi-layer perceptron with tanh units that chooses greedily.

    Where its observer sees the reward network's features, it is used together with that network.

    Attributes:
        rules: what its choices mean.
        observer: what it sees.
        weights: ``mean`` and ``scale`` of the observer; ``layer.<i>.weight`` float32 (out, in) and
            ``layer.<i>.bias`` (out,), the last layer giving one score an option.
        joint: whether an option is a whole action, all its parts at once (in the order of
            `ActionSet.settings`), and not each part for itself.
    """

    rules: Rules
    observer: Observer
    weights: Arrays
    joint: bool = False

    @classmethod
    def of(cls, model: "PPO", rules: Rules, observer: Observer) -> "Policy":
        """The policy inside a trained model."""
        from torch.nn import Linear

        layers = [
            layer for layer in model.policy.mlp_extractor.policy_net if isinstance(layer, Linear)
        ]
        weights = {"mean": observer.mean, "scale": observer.scale}
        for number, layer in enumerate([*layers, model.policy.action_net]):
            weights[f"layer.{number}.weight"] = layer.weight.detach().cpu().numpy()
            weights[f"layer.{number}.bias"] = layer.bias.detach().cpu().numpy()
        return cls(rules, observer, weights)

    def choose(self, observation: Features) -> Choice:
        """The action with the highest score, or of each part of it the option with the highest."""
        depth = sum(name.endswith(".bias") for name in self.weights)
        hidden = observation
        for number in range(depth):
            weight, bias = (self.weights[f"layer.{number}.{part}"] for part in ("weight", "bias"))
            hidden = weight @ hidden + bias
            if number < depth - 1:
                hidden = np.tanh(hidden)
        if self.joint:
            return tuple(map(int, np.unravel_index(hidden.argmax(), self.rules.choices)))
        ends = np.cumsum(self.rules.choices)[:-1]
        return tuple(int(part.argmax()) for part in np.split(hidden, ends))

    def decide(
        self, image_features: Features, mask_features: Callable[[State], Features]
    ) -> list[State]:
        """Play one episode greedily.

        Args:
            image_features: of the image, see `vesselrl.rl.observations.feature_function`.
            mask_features: of the mask that a state stands for.

        Returns:
            The state after each step; the last one is the decision.
        """
        path: list[State] = [()]
        for step in range(self.rules.length):
            observation = self.observer(image_features, partial(mask_features, path[-1]), step)
            path.append(self.rules.extend(path[-1], self.choose(observation)))
        return path[1:]

    def settings(self) -> dict[str, Any]:
        """What beside the weights makes the policy, as JSON holds it."""
        actions = self.rules.actions
        return {
            "chooses": self.rules.chooses,
            "episode_length": self.rules.length,
            "prompts": list(actions.prompts),
            "default_prompt": actions.prompts[actions.default_prompt],
            "thresholds": list(actions.thresholds),
            "operations": {
                name: operation.model_dump() for name, operation in actions.operations.items()
            },
            "observations": self.observer.observations,
            "joint": self.joint,
        }

    @classmethod
    def from_parts(cls, settings: Mapping[str, Any], weights: Arrays) -> "Policy":
        """The policy that `settings` and weights describe.

        Raises:
            ValueError: they do not belong together.
        """
        from pydantic import TypeAdapter

        from vesselrl.rl.actions import ActionSet
        from vesselrl.rl.parameters import ActionParameters, Observations

        parameters = ActionParameters(
            thresholds=settings["thresholds"], operations=settings["operations"]
        )
        actions = ActionSet.of(settings["prompts"], settings["default_prompt"], parameters)
        rules = Rules(actions, settings["chooses"], settings["episode_length"])
        seen = TypeAdapter[Observations](Observations).validate_python(settings["observations"])
        observer = Observer(weights["mean"], weights["scale"], rules.length, seen)
        policy = cls(rules, observer, weights, settings["joint"])
        policy._check_shapes()
        return policy

    def _check_shapes(self) -> None:
        depth = sum(name.endswith(".bias") for name in self.weights)
        size = self.observer.size
        for number in range(depth):
            weight = self.weights[f"layer.{number}.weight"]
            if weight.shape[1] != size:
                raise ValueError(
                    f"layer.{number}.weight takes {weight.shape[1]} values, but gets {size}: "
                    "settings and weights do not belong together."
                )
            size = weight.shape[0]
        options = prod(self.rules.choices) if self.joint else sum(self.rules.choices)
        if size != options:
            raise ValueError(
                f"The policy answers with {size} scores, but its settings list {options} "
                "options: they do not belong together."
            )
