"""The report card: may this reward network train a policy?

All figures are computed over the masks a policy could choose (every prompt, threshold and
operation) for images of patients the network was not trained on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from vesselrl.metrics.masks import Scores, objective_of
from vesselrl.reward.calibration import TINY, Line
from vesselrl.reward.names import AGAINST_TRUTH, hack_name
from vesselrl.reward.parameters import FitnessParameters

T = TypeVar("T")
ImageScores = Mapping[str, Scores]
"""Of one image, see `vesselrl.rl.setting_scores.ReportCardScores`."""
Loaders = Sequence[Callable[[], ImageScores]]
"""Of the scores of each image: one is in memory at a time."""

RIVAL = "rival_"
"""How the scores of rivals begin."""
BINS = 10
"""Of the expected calibration error."""
RANKED = 500
"""Images whose masks are ranked all together, for which all of them are in memory."""


def report_card(images: Loaders, objective: Sequence[str]) -> dict[str, float | None]:
    """Agreement of predicted with true scores.

    Args:
        images: the scores of each image.
        objective: the scores whose mean a policy is paid.

    Returns:
        Of Dice: see `agreement`; ``mae_raw``, the mean absolute error before calibration;
        ``calibration_error``, the expected calibration error over ten equal bins (Guo et al., "On
        calibration of modern neural networks", ICML 2017, arXiv:1706.04599); ``disagreement_r``,
        Spearman's r between the members' disagreement and the error of what they predict, None for
        a single member; of more than `RANKED` images, of `in_equal_steps`. Of the objective:
        ``objective_tau`` and ``objective_regret``, as ``within_image_tau`` and ``top1_regret``.
        Without images ``n_images`` alone.
    """
    if not images:
        return {"n_images": 0}
    judged, paid = _Agreement(len(images)), _Agreement(len(images))
    errors, gaps = np.zeros(2), np.zeros(BINS)
    few, ranked = set(in_equal_steps(range(len(images)), RANKED)), []
    masks = 0
    for number, load in enumerate(images):
        image = load()
        true, predicted = image["true_dice"], image["predicted_dice"]
        judged.add(image["raw_dice"], true)
        pay = objective_of(image, objective, "predicted_")  # after the lines: they weigh the scores
        paid.add(pay, objective_of(image, objective, "true_"))
        error = np.abs(predicted - true)
        errors += error.sum(), np.abs(image["raw_dice"] - true).sum()
        which = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
        gaps += np.bincount(which, predicted - true, BINS)
        masks += len(true)
        if number in few:
            ranked.append((image["disagreement"], error))
    mae, mae_raw = errors / masks
    return {
        **judged.told(),
        "mae": float(mae),
        "mae_raw": float(mae_raw),
        "calibration_error": float(np.abs(gaps).sum() / masks),
        "disagreement_r": _spearman(*map(np.concatenate, zip(*ranked, strict=True))),
        "objective_tau": paid.tau,
        "objective_regret": paid.regret,
        "n_images": len(images),
    }


def in_equal_steps(images: Sequence[T], most: int) -> Sequence[T]:
    """All of them or, of more than so many, every second, third or further one."""
    return images[:: max(1, -(-len(images) // most))]


def rival_cards(val: Loaders, test: Loaders) -> dict[str, dict[str, dict[str, float]]]:
    """The same for what else could judge masks.

    Each rival has a line of its own to the true Dice, fitted on validation images, as the reward
    network has.

    Args:
        val: the scores of each validation image; at least one.
        test: the scores of each test image.

    Returns:
        Name → ``val`` and ``test`` → `agreement`, ``mae`` and ``n_images``.
    """
    keys = [key for key in val[0]() if key.startswith(RIVAL)]
    splits = {"val": val, "test": test}
    agreements = {split: _agreements(images, keys) for split, images in splits.items()}
    lines = {key: one.line() for key, one in agreements["val"].items()}
    errors = {split: _errors(images, lines) for split, images in splits.items()}
    return {
        key.removeprefix(RIVAL): {
            split: {
                **agreements[split][key].told(),
                "mae": errors[split][key],
                "n_images": len(images),
            }
            if images
            else {"n_images": 0}
            for split, images in splits.items()
        }
        for key in keys
    }


def _agreements(images: Loaders, keys: Sequence[str]) -> "dict[str, _Agreement]":
    found = {key: _Agreement(len(images)) for key in keys}
    for load in images:
        image = load()
        for key, one in found.items():
            one.add(image[key], image["true_dice"])
    return found


def _errors(images: Loaders, lines: Mapping[str, Line]) -> dict[str, float]:
    """Key → mean absolute error of what its line says; nan without images."""
    sums = dict.fromkeys(lines, 0.0)
    for load in images:
        image = load()
        for key, line in lines.items():
            sums[key] += float(np.abs(line(image[key]) - image["true_dice"]).mean())
    return {key: total / len(images) if images else np.nan for key, total in sums.items()}


def agreement(pairs: Sequence[tuple[Scores, Scores]]) -> dict[str, float]:
    """How well a judge knows and orders masks.

    Args:
        pairs: of each image the judged and the true scores of its masks, float64 (N,); at least one
            image, each with the same masks.

    Returns:
        ``pooled_r``: Pearson's r over all masks; ``across_image_r``: r of the images' means;
        ``within_image_tau`` and ``top1_regret``: see the functions of that name.
    """
    found = _Agreement(len(pairs))
    for judged, true in pairs:
        found.add(judged, true)
    return found.told()


class _Agreement:
    """See `agreement`; of each image no more than a few numbers are kept.

    Variances and covariances over all masks are those of the images' means plus the means of those
    within the images, which have the same number of masks.

    Args:
        images: how many there will be.
    """

    def __init__(self, images: int) -> None:
        self._means = np.zeros((images, 2))  # judged, true
        self._within = np.zeros((images, 3))  # the variances, and the covariance
        self._tau = np.full(images, np.nan)
        self._regret = np.zeros(images)
        self._count = 0
        self._masks = 0

    def add(self, judged: Scores, true: Scores) -> None:
        """Take the scores of the next image."""
        both = np.stack([judged, true])
        means = both.mean(1)
        spread = both - means[:, None]
        self._means[self._count] = means
        self._within[self._count] = (spread[[0, 1, 0]] * spread[[0, 1, 1]]).mean(1)
        self._tau[self._count] = _tau(judged, true)
        self._regret[self._count] = _regret(judged, true)
        self._count += 1
        self._masks += len(true)

    def told(self) -> dict[str, float]:
        """What `agreement` returns."""
        return {
            "pooled_r": self._pooled_r(),
            "across_image_r": _pearson(*self._means.T),
            "within_image_tau": self.tau,
            "top1_regret": self.regret,
        }

    @property
    def tau(self) -> float:
        """See `within_image_tau`."""
        return _mean_tau(self._tau)

    @property
    def regret(self) -> float:
        """See `top1_regret`."""
        return float(self._regret.mean())

    def line(self) -> Line:
        """The line from judged to true scores, as `Line.fit` fits it."""
        judged, _, both = self._within.mean(0)
        slope = max(0.0, both / max(judged, TINY / self._masks))
        middle, aim = self._means.mean(0)
        return Line(float(slope), float(aim - slope * middle))

    def _pooled_r(self) -> float:
        spread = self._means - self._means.mean(0)
        across = (spread[:, [0, 1, 0]] * spread[:, [0, 1, 1]]).mean(0)
        judged, true, both = across + self._within.mean(0)
        if min(judged, true) < TINY:
            return 0.0
        return float(np.clip(both / np.sqrt(judged * true), -1, 1))


def top1_regret(pairs: Iterable[tuple[Scores, Scores]]) -> float:
    """True score lost by taking the mask that is judged best instead of the best, mean of images.

    Args:
        pairs: of each image the judged and the true scores of its masks; at least one image.
    """
    return float(np.mean([_regret(judged, true) for judged, true in pairs]))


def within_image_tau(pairs: Iterable[tuple[Scores, Scores]]) -> float:
    """Kendall's tau between the predicted and true scores of an image's masks, mean over images.

    An image whose masks are all equally good has no order and does not count; a judge that finds
    all masks of an image equally good has tau 0 there. Without images the mean is 0.
    """
    return _mean_tau(np.array([_tau(predicted, true) for predicted, true in pairs]))


def _regret(judged: Scores, true: Scores) -> float:
    return float(true.max() - true[judged.argmax()])


def _tau(judged: Scores, true: Scores) -> float:
    """See `within_image_tau`; nan where it does not count."""
    if np.ptp(true) == 0:
        return np.nan
    return float(kendalltau(judged, true).statistic) if np.ptp(judged) > 0 else 0.0


def _mean_tau(taus: Scores) -> float:
    counted = taus[~np.isnan(taus)]
    return float(counted.mean()) if counted.size else 0.0


def fitness(
    val: Mapping[str, float | None], hacks: pd.DataFrame, parameters: FitnessParameters
) -> dict[str, Any]:
    """The verdict in words, from validation images alone.

    A policy chooses among masks that a segmenter offers, never the truth: that a network takes too
    much or too little for the truth itself shows how fine it sees, which is said, but does not make
    it unfit. Where it ranks these right in Dice alone, what is paid beside Dice is to blame.

    Args:
        val: `report_card` of validation images.
        hacks: `vesselrl.reward.hacks.ranked_right` of validation images.
        parameters: what a network must reach.

    Returns:
        ``fit`` and ``reason``.
    """
    tau = val["objective_tau"] or 0.0
    wrong = list(hacks.loc[~hacks["right"].astype(bool), "hack"])
    deceiving = [hack for hack in wrong if hack not in AGAINST_TRUTH]
    blurred = [hack for hack in wrong if hack in AGAINST_TRUTH]
    ordered = tau >= parameters.tau
    sentences = [
        f"It orders the masks of one validation image with Kendall's tau {tau:.2f}, "
        + (
            f"which reaches the {parameters.tau:.2f} asked for."
            if ordered
            else f"which is below the {parameters.tau:.2f} asked for: a policy would learn little "
            "or learn its errors."
        ),
        "It is deceived by "
        + "; ".join(map(hack_name, deceiving))
        + ": a policy could raise its reward without making better masks."
        if deceiving
        else "No mask that a policy could find deceives it.",
    ]
    if blurred:
        names = "; ".join(map(hack_name, blurred))  # which hold commas
        in_dice = hacks.set_index("hack")["dice_share"][blurred].min()
        sentences.append(
            f"It rates {names} above the truth itself: what it rates best may be off in the same "
            "way. "
            + (
                f"In Dice alone it ranks them right on {in_dice:.0%} of the images: where borders "
                "are uncertain, the objective pays for recall."
                if in_dice >= parameters.hacks_right
                else "In Dice alone it does so too: it does not see finely enough."
            )
        )
    return {"fit": bool(ordered and not deceiving), "reason": " ".join(sentences)}


def _spearman(a: Scores, b: Scores) -> float | None:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def _pearson(a: Scores, b: Scores) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
