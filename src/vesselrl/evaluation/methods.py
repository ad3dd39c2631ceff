"""What each method decides for an image, as data from which its mask can be drawn again."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from vesselrl.errors import VesselrlError
from vesselrl.evaluation.parameters import NETWORKS, TRAINED, Method
from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.reward.network import RewardNetwork
from vesselrl.rl.actions import ActionSet, Rules, State
from vesselrl.rl.observations import Features, mask_features
from vesselrl.rl.operations import Mask, Probability
from vesselrl.rl.policy import Policy
from vesselrl.samples import generator_of
from vesselrl.segmenters.answers import Maps

POSTERIOR = "posterior"
"""In place of what is chosen: the mask is the reward network's own, nothing is chosen."""
IMPORTED = "imported"
"""In place of what is chosen: the mask was given."""
NETWORK = "network"
"""In place of what is chosen: the mask is a trained network's map, cut."""


@dataclass(frozen=True)
class Case:
    """One image and all that a method may look at; the oracle alone looks at ``true``.

    Attributes:
        sample: its id.
        image: uint8 (H, W) or (H, W, 3).
        handmade: gives its `vesselrl.rl.observations.image_features`, for policies that see them.
        probabilities: the maps of all prompts.
        network: the reward network, for methods that ask it themselves.
        predicted: gives the reward network's objective for every setting, float64 (A,).
        true: gives the true objective of every setting, float64 (A,); None where no truth is known.
    """

    sample: str
    image: npt.NDArray[np.uint8]
    handmade: Callable[[], Features]
    probabilities: Maps
    network: RewardNetwork
    predicted: Callable[[], Scores]
    true: Callable[[], Scores] | None = None


@dataclass(frozen=True)
class Decision:
    """What a method does to an image.

    Attributes:
        chooses: what is chosen, or `POSTERIOR`, `IMPORTED` or `NETWORK`.
        state: the choices.
        calls: how many prompts had to be asked; NaN if that is unknown.
        seconds: from image to mask; None where they are to be measured, NaN if they are unknown.
        threshold: where a network's map is cut.
    """

    chooses: str
    state: State
    calls: float
    seconds: float | None = None
    threshold: float | None = None

    def encoded(self) -> str:
        """The state as JSON."""
        return json.dumps(self.state)


Decide = Callable[[Case], Decision]


def decode_state(text: str) -> State:
    """The state that `Decision.encoded` wrote."""
    return tuple(tuple(int(part) for part in choice) for choice in json.loads(text))


def deciders(
    method: Method,
    actions: ActionSet,
    static: int | None,
    policies: Mapping[int, Policy],
    objective: Sequence[str],
    seed: int,
) -> dict[int, Decide]:
    """Seed → how a method decides; a method without chance or training has one seed.

    Args:
        method: which one.
        actions: prompts, thresholds, operations.
        static: number of the best static setting in ``actions.settings``; None where neither
            ``static`` nor ``best_of_one`` is asked for.
        policies: of the method's path, experiment or regressor, by seed; none for methods without.
        objective: the scores whose mean decides.
        seed: of the random choices.
    """
    if method.kind in TRAINED:
        return {number: _by_policy(policy) for number, policy in policies.items()}
    if method.kind == "random":
        seeds = range(seed, seed + method.repeats)
        return {number: _choosing(_at_random(number, actions), actions, 1) for number in seeds}
    return {seed: _without_seed(method, actions, static, objective)}


def _without_seed(
    method: Method, actions: ActionSet, static: int | None, objective: Sequence[str]
) -> Decide:
    """How a method without chance or training decides."""
    everything = len(actions.prompts)
    always = {
        "default": Decision("setting", (), 1),
        "posterior": Decision(POSTERIOR, (), everything),
        "imported": Decision(
            IMPORTED, (), _or_unknown(method.segmenter_calls), _or_unknown(method.seconds)
        ),
    }
    if method.kind in always:
        return lambda _: always[method.kind]
    if method.kind == "best_of_n":
        return _choosing(lambda case: int(case.predicted().argmax()), actions, everything)
    if method.kind == "oracle":
        return _choosing(_by_truth, actions, everything)
    if static is None:
        raise ValueError(f"‘{method.kind}’ needs the static setting.")
    if method.kind == "static":
        return _choosing(lambda _: static, actions, 1)
    prompt = actions.settings[static].prompt
    return _choosing(_best_of_one(prompt, actions, objective), actions, 1)


def _choosing(choose: Callable[[Case], int], actions: ActionSet, calls: int) -> Decide:
    """From the number of a setting to the decision for it."""
    settings = actions.settings
    return lambda case: Decision("setting", (tuple(settings[choose(case)]),), calls)


def _at_random(number: int, actions: ActionSet) -> Callable[[Case], int]:
    settings = len(actions.settings)

    def choose(case: Case) -> int:
        rng = generator_of(case.sample, number)
        return int(rng.integers(settings))

    return choose


def _by_truth(case: Case) -> int:
    if case.true is None:
        raise ValueError(f"Of '{case.sample}' no truth is known.")
    return int(case.true().argmax())


def _best_of_one(
    prompt: int, actions: ActionSet, objective: Sequence[str]
) -> Callable[[Case], int]:
    """Number of the setting of one prompt that the reward network rates highest.

    The network sees that prompt's map alone: no other is asked for.
    """
    of_prompt = [n for n, setting in enumerate(actions.settings) if setting.prompt == prompt]

    def choose(case: Case) -> int:
        opinions = case.network.opinions(case.image, case.probabilities[prompt])
        masks = [actions.setting_mask(case.probabilities, actions.settings[n]) for n in of_prompt]
        scores = case.network.scoring.scores(np.stack(masks), opinions)
        return of_prompt[int(objective_of(scores, objective).argmax())]

    return choose


def _or_unknown(cost: float | None) -> float:
    return float("nan") if cost is None else cost


def check_choices(name: str, policy: Policy, actions: ActionSet) -> None:
    """Check that a finished policy chooses among what there is to choose from.

    Args:
        name: of its method.
        policy: the policy.
        actions: prompts, thresholds, operations of this run.

    Raises:
        VesselrlError: it was trained to choose among others.
    """
    for own, present in zip_longest(
        _options(policy.rules.actions), _options(actions), fillvalue="nothing"
    ):
        if own != present:
            raise VesselrlError(
                f"The policy of ‘{name}’ was trained to choose among other options: {own} where "
                f"this run has {present}. Give this run those it was trained with, or train it "
                "again."
            )


def _options(actions: ActionSet) -> list[str]:
    """All there is to choose from, in words and in its order: a choice is a position."""
    prompts = [
        f"the prompt ‘{prompt}’{' (the default)' if number == actions.default_prompt else ''}"
        for number, prompt in enumerate(actions.prompts)
    ]
    thresholds = [f"the threshold {threshold:g}" for threshold in actions.thresholds]
    operations = [f"the operation ‘{k}’ ({v})" for k, v in actions.operations.items()]
    return prompts + thresholds + operations


def _by_policy(policy: Policy) -> Decide:
    rules = policy.rules

    def decide(case: Case) -> Decision:
        is_handmade = policy.observer.observations == "handmade"
        path = policy.decide(
            case.handmade() if is_handmade else case.network.image_features(case.image),
            lambda state: mask_features(*rules.answer(case.probabilities, state)),
        )
        # A policy that looks at the mask needs every prompt on its way, the default's at first.
        needed = [(), *path] if policy.observer.sees_masks else path
        asked = {prompt for state in needed for prompt in rules.prompts_used(state)}
        return Decision(rules.chooses, path[-1], len(asked))

    return decide


def made_by(method: Method) -> str:
    """The command that trains what a method needs."""
    for pipeline, networks in NETWORKS.items():
        if method.network in networks:
            return f"kedro run --pipeline {pipeline}"
    is_first = method.experiment == "reward_rl"
    return f"kedro run --pipeline {'rl_finetune' if is_first else 'experiments'}"


def draw(
    decision_chooses: str,
    state: State,
    probabilities: Maps,
    actions: ActionSet,
    posterior: Callable[[], Probability] | None,
) -> tuple[Mask, Probability]:
    """The mask that a decision stands for, and the map it was cut from.

    Args:
        decision_chooses: what the method chooses, or `POSTERIOR`.
        state: its choices.
        probabilities: the maps of all prompts.
        actions: prompts, thresholds, operations.
        posterior: gives the reward network's own map, float32 (H, W); None where it is not asked.

    Returns:
        The mask, bool (H, W), and the map, float32 (H, W).
    """
    if decision_chooses == POSTERIOR and posterior is not None:
        own = posterior()
        return own > 0.5, own
    rules = Rules(actions, decision_chooses, max(len(state), 1))  # type: ignore[arg-type]
    return rules.answer(probabilities, state)


def describe(decision: Decision, actions: ActionSet) -> dict[str, object]:
    """The decision in names: prompt, threshold, operations."""
    if decision.chooses == POSTERIOR:
        return {"prompt": "all", "threshold": 0.5, "operations": "none"}
    if decision.chooses == NETWORK:
        return {"prompt": "none", "threshold": decision.threshold, "operations": "none"}
    if decision.chooses == IMPORTED:
        return {"prompt": "unknown", "threshold": float("nan"), "operations": "unknown"}
    rules = Rules(actions, decision.chooses, max(len(decision.state), 1))  # type: ignore[arg-type]
    return rules.describe(decision.state)
