"""A recipe: all that a method needs on a new image, as plain data."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vesselrl import __version__
from vesselrl.errors import VesselrlError
from vesselrl.evaluation.methods import check_choices, made_by
from vesselrl.evaluation.networks import networks_behind
from vesselrl.evaluation.parameters import TRAINED, Method
from vesselrl.prediction.calibration import Calibration
from vesselrl.prediction.parameters import UNPREDICTABLE, Rating
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.parameters import ActionParameters
from vesselrl.rl.policy import Policy
from vesselrl.segmenters.keys import code_of
from vesselrl.segmenters.parameters import SegmenterParameters

State = Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """All that a method needs on a new image, and nothing else: plain data, no pickle.

    Attributes:
        name: of the method, as in ``evaluation.methods``.
        method: its kind.
        segmenter: which segmenter it asks, and its prompts.
        actions: thresholds and operations.
        objective: the scores whose mean decides.
        static: number of the static setting in ``ActionSet.settings``; None where it needs none.
        threshold: where a network's map is cut; None for other kinds.
        policy: of a policy or regressor; None for other kinds.
        network: name → state of each `SegmentationNetwork` that is asked; None for other kinds
            than ``network``.
        refiner: state of the `RewardNetwork` that corrects the networks' map; None where none does.
        reward_network: state of the `RewardNetwork` that rates every mask.
        calibration: what validation images taught of its masks.
        rating: whether masks are rated after the prompts that the method needs, or after all.
    """

    name: str
    method: Method
    segmenter: SegmenterParameters
    actions: ActionParameters
    objective: Sequence[str]
    static: int | None
    threshold: float | None
    policy: Policy | None
    network: Mapping[str, State] | None
    refiner: State | None
    reward_network: State
    calibration: Calibration
    rating: Rating = "needed"

    def calibrated(self, calibration: Calibration) -> "Recipe":
        """The same with another calibration."""
        return replace(self, calibration=calibration)

    def state(self) -> dict[str, Any]:
        """The recipe of tensors (on the CPU) and plain values only.

        What tells where the segmenter's files are is not among them.
        """
        import torch

        policy = self.policy and {
            "settings": self.policy.settings(),
            "weights": {name: torch.tensor(w) for name, w in self.policy.weights.items()},
        }
        return {
            "name": self.name,
            "method": self.method.model_dump(mode="json", exclude_none=True),
            "segmenter": self.segmenter.model_dump(mode="json"),
            "actions": self.actions.model_dump(mode="json"),
            "objective": list(self.objective),
            "static": self.static,
            "threshold": self.threshold,
            "policy": policy,
            "network": self.network and {name: dict(state) for name, state in self.network.items()},
            "refiner": self.refiner and dict(self.refiner),
            "reward_network": dict(self.reward_network),
            "calibration": self.calibration.state(),
            "rating": self.rating,
        }

    @classmethod
    def from_state(cls, state: State, segmenter: SegmenterParameters) -> "Recipe":
        """The recipe that `state` describes.

        Args:
            state: see `state`.
            segmenter: its segmenter's parameters, with the paths of its files.

        Raises:
            VesselrlError: these are of another segmenter.
        """
        own = state["segmenter"]["kind"]
        if segmenter.kind != own:
            raise VesselrlError(
                f"The recipe of ‘{state['name']}’ asks the segmenter ‘{own}’, and this run's is "
                f"‘{segmenter.kind}’: choose the environment (--env) it was made in, or write "
                "it again with kedro run --pipeline recipe."
            )
        if segmenter.model_dump(mode="json") != state["segmenter"]:
            raise VesselrlError(
                f"The recipe of ‘{state['name']}’ was made with other prompts or settings of the "
                f"segmenter ‘{own}’ than this run's: write it again with kedro run --pipeline "
                "recipe."
            )
        policy = state["policy"] and Policy.from_parts(
            state["policy"]["settings"],
            {name: w.numpy() for name, w in state["policy"]["weights"].items()},
        )
        return cls(
            name=state["name"],
            method=Method.model_construct(**state["method"]),  # a finished policy has no path here
            segmenter=segmenter,
            actions=ActionParameters.model_validate(state["actions"]),
            objective=state["objective"],
            static=state["static"],
            threshold=state["threshold"],
            policy=policy,
            network=state["network"],
            refiner=state["refiner"],
            reward_network=state["reward_network"],
            calibration=Calibration.from_state(state["calibration"]),
            rating=state["rating"],
        )


def digest_of_recipe(state: State, kind: str) -> str:
    """Tells apart what gives other predictions: of a recipe, the segmenter's code and vesselrl.

    Args:
        state: see `Recipe.state`.
        kind: of the segmenter.

    Returns:
        16 hexadecimal digits.
    """
    found = hashlib.sha256(f"{__version__} {code_of(kind)}".encode())
    _add_to(found, state)
    return found.hexdigest()[:16]


def _add_to(found: Any, value: Any) -> None:
    """Hash nested dicts and lists of tensors and plain values."""
    import torch

    match value:
        case torch.Tensor():
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(value.contiguous().cpu().numpy().tobytes())
        case dict():
            for key, part in value.items():
                found.update(f"{key}:".encode())
                _add_to(found, part)
        case list():
            found.update(f"[{len(value)}".encode())
            for part in value:
                _add_to(found, part)
        case _:
            found.update(repr(value).encode())


@dataclass(frozen=True)
class Stock:
    """What the stages before have left, of which a recipe takes what its method needs.

    Attributes:
        segmenter: which segmenter is asked, and its prompts.
        actions: thresholds and operations.
        objective: the scores whose mean decides.
        static: number of the best static setting in ``ActionSet.settings``.
        thresholds: run → where the map of its network is cut.
        policies: experiment or regressor → seed → policy; without seeds where it was not trained.
        finished_policies: method → the policy its path leads to.
        trained: pipeline → the networks it keeps for use, as
            `vesselrl.evaluation.networks.networks_behind` reads them.
        reward_network: state of the `RewardNetwork` that rates every mask.
        rating: whether masks are rated after the prompts that the method needs, or after all.
    """

    segmenter: SegmenterParameters
    actions: ActionParameters
    objective: Sequence[str]
    static: int
    thresholds: Mapping[str, float]
    policies: Mapping[str, Mapping[int, Policy]]
    finished_policies: Mapping[str, Policy]
    trained: Mapping[str, Mapping[str, Any]]
    reward_network: State
    rating: Rating = "needed"


def write_recipe(name: str, methods: Mapping[str, Method], stock: Stock) -> Recipe:
    """The recipe of a method, not yet calibrated.

    Of a method with several seeds it is that of the first, as everywhere: never of the best.

    Args:
        name: of the method.
        methods: all of ``evaluation.methods``.
        stock: what there is.

    Raises:
        VesselrlError: there is no such method, it cannot be applied to new images, what it needs
            was not trained, or its policy was trained to choose among other options.
    """
    _refuse_unpredictable(name, methods)
    method = methods[name]
    recipe = Recipe(
        name, method, stock.segmenter, stock.actions, stock.objective, None, None, None, None, None,
        stock.reward_network, Calibration.unknown(), stock.rating,
    )  # fmt: skip
    if method.kind in ("static", "best_of_one"):
        return replace(recipe, static=stock.static)
    if method.kind == "network":
        network, refiner = networks_behind(str(method.network), stock.trained)
        _refuse_untrained(name, method, network)
        threshold = method.threshold or stock.thresholds[str(method.network)]
        return replace(recipe, network=network, refiner=refiner, threshold=threshold)
    if method.kind in TRAINED:
        given = stock.finished_policies
        of_seeds = stock.policies.get(method.experiment or "", {})
        seeds = {0: given[name]} if name in given else of_seeds
        _refuse_untrained(name, method, seeds)
        policy = next(iter(seeds.values()))
        prompts, default = list(stock.segmenter.prompts), stock.segmenter.default_prompt
        check_choices(name, policy, ActionSet.of(prompts, default, stock.actions))
        return replace(recipe, policy=policy)
    return recipe


def first_predictable(names: Sequence[str], methods: Mapping[str, Method]) -> str:
    """The first of these methods that can be applied to new images, else the first."""
    for name in names:
        try:
            _refuse_unpredictable(name, methods)
        except VesselrlError:
            continue
        return name
    return names[0]


def _refuse_untrained(name: str, method: Method, trained: Mapping[Any, Any]) -> None:
    if not trained:
        raise VesselrlError(
            f"predict.method is ‘{name}’, and what it needs is not trained: {made_by(method)}"
        )


def _refuse_unpredictable(name: str, methods: Mapping[str, Method]) -> None:
    can = [one for one, method in methods.items() if not why_not(method)]
    hint = f"expected recommended, or one of {', '.join(can)}."
    if name not in methods:
        raise VesselrlError(f"predict.method is ‘{name}’, which is no method; {hint}")
    if reason := why_not(methods[name]):
        raise VesselrlError(
            f"predict.method is ‘{name}’, which cannot be applied to new images: {reason}; {hint}"
        )


def why_not(method: Method) -> str | None:
    """Why a method cannot be applied to new images; None if it can."""
    return UNPREDICTABLE.get(method.network or method.kind)
