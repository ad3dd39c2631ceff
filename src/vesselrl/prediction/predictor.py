"""One image → its mask, and how far the mask may be trusted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vesselrl.evaluation.methods import NETWORK, Case, Decision, deciders, describe, draw
from vesselrl.evaluation.networks import network_map
from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.prediction.recipe import Recipe
from vesselrl.reward.closed_form import error_probability
from vesselrl.reward.network import RewardNetwork, mean_candidate
from vesselrl.rl.actions import ActionSet
from vesselrl.rl.observations import Features, image_features
from vesselrl.rl.operations import Mask, Probability
from vesselrl.segmenters.answers import Answers
from vesselrl.segmenters.base import Segmenter, build_segmenter, check_image, levels_from
from vesselrl.segmenters.levels import from_levels
from vesselrl.segmenters.unet.network import SegmentationNetwork

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Chosen:
    """What a method chose for an image, and what was found out of it on the way.

    Attributes:
        answers: of the segmenter about the image; more are asked for as they are needed.
        handmade: gives its `image_features`, which are made once.
        decision: what the method chose.
    """

    answers: Answers
    handmade: Callable[[], Features]
    decision: Decision


@dataclass(frozen=True)
class Segmentation:
    """What a method makes of an image.

    Attributes:
        mask: bool (H, W).
        probability: float32 (H, W), the map it was cut from.
        candidate: float32 (H, W), what the reward network is shown beside the image when it rates
            the mask: the mean of the maps that were asked for, or a network's own map if none was.
        decision: what the method chose.
        segmenter_calls: how many prompts were asked.
    """

    mask: Mask
    probability: Probability
    candidate: Probability
    decision: Decision
    segmenter_calls: int


@dataclass(frozen=True)
class Prediction:
    """A mask, and how far it may be trusted.

    Attributes:
        mask: bool (H, W).
        probability: float32 (H, W) in [0, 1], the map the mask was cut from.
        error: float32 (H, W) in [0, 1], the reward network's probability that a pixel of the mask
            is wrong.
        dice: of the mask, predicted, in [0, 1]; calibrated as
            `vesselrl.prediction.calibration.Calibration` says.
        recall: predicted, in [0, 1].
        precision: predicted, in [0, 1].
        dice_low: lower end, in [0, 1], of the interval that is made to hold the true Dice.
        dice_high: its upper end.
        out_of_distribution: how unlike the training images this one is, from 0 to 1: the share of
            validation images that are more like them.
        prompt: what was asked, in words.
        threshold: where the map was cut.
        operations: what was done to the mask, in words.
        segmenter_calls: how many prompts were asked.
        seconds: from the image to all of this.
        absent: ids of the frames that should have voted on what was chosen, and failed.
    """

    mask: Mask
    probability: Probability
    error: Probability
    dice: float
    recall: float
    precision: float
    dice_low: float
    dice_high: float
    out_of_distribution: float
    prompt: str
    threshold: float
    operations: str
    segmenter_calls: int
    seconds: float
    absent: tuple[str, ...] = ()


class Predictor:
    """Applies a recipe to one image after another.

    Args:
        recipe: of the method.
        segmenter: the one that is asked; the recipe's, built when it is first needed, without.
    """

    def __init__(self, recipe: Recipe, segmenter: Segmenter | None = None) -> None:
        self.recipe = recipe
        self.judge = RewardNetwork.from_state(dict(recipe.reward_network))
        self._given = segmenter
        self._actions = ActionSet.of(
            list(recipe.segmenter.prompts), recipe.segmenter.default_prompt, recipe.actions
        )

    def __reduce__(self) -> tuple[type["Predictor"], tuple[Recipe, Segmenter | None]]:
        # a copy in another process makes its networks anew, on the device that it finds there
        return Predictor, (self.recipe, self._given)

    def prepare(self) -> None:
        """Load what will be asked: what cannot be loaded is no failure of one image."""
        if self.recipe.method.kind != "network" or self.recipe.rating == "all":
            self._segmenter  # noqa: B018 - a cached property

    def predict(self, image: Image, chosen: Chosen | None = None) -> Prediction:
        """The mask of an image, and how far it may be trusted.

        It asks only the prompts that the method needs, unless the recipe's rating asks for more.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            chosen: for it; the method chooses without.

        Raises:
            VesselrlError: the image has another shape or type.
            PromptsFailed: the segmenter failed; other errors of its own come as they are.
        """
        started = time.perf_counter()
        check_image(image)
        chosen = chosen or self.choose(image)
        made = self.segment(image, chosen)
        raw, error = self.rate(image, made)
        calibration = self.recipe.calibration
        scores: dict[str, Any] = calibration.scores(raw)
        words: dict[str, Any] = describe(made.decision, self._actions)
        low, high = calibration.interval(raw["dice"])
        return Prediction(
            mask=made.mask,
            probability=made.probability,
            error=error,
            **scores,
            dice_low=low,
            dice_high=high,
            out_of_distribution=calibration.out_of_distribution(chosen.handmade),
            **words,
            segmenter_calls=made.segmenter_calls,
            seconds=time.perf_counter() - started,
        )

    def rate(self, image: Image, made: Segmentation) -> tuple[dict[str, float], Probability]:
        """What the reward network expects of a mask.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            made: what the method made of it.

        Returns:
            ``dice``, ``recall``, ``precision``, not yet calibrated; and the probability that a
            pixel of the mask is wrong, float32 (H, W).
        """
        opinions = self.judge.opinions(image, made.candidate)
        scores = self.judge.scoring.raw_scores(made.mask[None], opinions)
        raw = {name: float(score[0]) for name, score in scores.items()}
        return raw, error_probability(made.mask, opinions)

    def choose(self, image: Image, answers: Answers | None = None) -> Chosen:
        """What the method chooses for an image.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            answers: of the segmenter about it; it is asked without them.
        """
        answers = answers or Answers(partial(self._ask, image), len(self._actions.prompts))
        handmade = cache(partial(image_features, image))
        return Chosen(answers, handmade, self._decide(self._case(image, answers, handmade)))

    def segment(self, image: Image, chosen: Chosen) -> Segmentation:
        """What the method makes of an image, without a rating.

        Args:
            image: uint8 (H, W) or (H, W, 3).
            chosen: for it, or for images like it.
        """
        answers = chosen.answers
        mask, map_ = (
            self._by_network(image, chosen.decision)
            if self.recipe.method.kind == "network"
            else self._by_choice(image, chosen)
        )
        shown = answers.of_prompts(answers.asked if self.recipe.rating == "needed" else None)
        candidate = mean_candidate(shown) if len(shown) else map_
        return Segmentation(mask, map_, candidate, chosen.decision, len(answers.asked))

    def _by_choice(self, image: Image, chosen: Chosen) -> tuple[Mask, Probability]:
        answers, decision = chosen.answers, chosen.decision

        def posterior() -> Probability:
            return self.judge.own_map(image, mean_candidate(answers.of_prompts()))

        return draw(decision.chooses, decision.state, answers, self._actions, posterior)

    def _by_network(self, image: Image, decision: Decision) -> tuple[Mask, Probability]:
        name = str(self.recipe.method.network)
        map_ = from_levels(network_map(name, self._networks, self._refiner, image))
        assert decision.threshold is not None  # a network's recipe has one
        return map_ > decision.threshold, map_

    def _ask(self, image: Image, prompts: Sequence[int]) -> npt.NDArray[np.uint8]:
        names = [self._actions.prompts[number] for number in prompts]
        return levels_from(self._segmenter, image, names)

    def _case(self, image: Image, answers: Answers, handmade: Callable[[], Features]) -> Case:
        def predicted() -> Scores:
            maps = answers.of_prompts()
            opinions = self.judge.opinions(image, mean_candidate(maps))
            parts = [
                objective_of(self.judge.scoring.scores(masks, opinions), self.recipe.objective)
                for masks in self._actions.masks_by_prompt(maps)
            ]
            return np.concatenate(parts)

        return Case("", image, handmade, answers, self.judge, predicted)

    @cached_property
    def _decide(self) -> Any:
        recipe = self.recipe
        if recipe.method.kind == "network":
            return lambda _: Decision(NETWORK, (), 0, threshold=recipe.threshold)
        policies = {} if recipe.policy is None else {0: recipe.policy}
        found = deciders(
            recipe.method, self._actions, recipe.static, policies, recipe.objective, seed=0
        )
        return found[0]

    @cached_property
    def _segmenter(self) -> Segmenter:
        return self._given or build_segmenter(self.recipe.segmenter)

    @cached_property
    def _networks(self) -> dict[str, SegmentationNetwork]:
        states = self.recipe.network or {}
        return {name: SegmentationNetwork.from_state(state) for name, state in states.items()}

    @cached_property
    def _refiner(self) -> RewardNetwork | None:
        state = self.recipe.refiner
        return None if state is None else RewardNetwork.from_state(dict(state))
