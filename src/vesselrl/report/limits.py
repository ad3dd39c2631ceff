"""What the test images can and cannot show, in words."""

from collections.abc import Mapping
from typing import Any

from vesselrl.report.language import say, sentences
from vesselrl.report.verdict import POWER
from vesselrl.report.words import counted, decimal, signed_points

FEW_GROUPS = 10
"""With fewer groups a bootstrap interval comes out too narrow."""


def what_the_test_can_show(verdict: Mapping[str, Any]) -> str:
    """How far these test images carry, in words."""
    images, groups = counted(verdict["images"], "image"), counted(verdict["groups"], "group")
    parts = [
        say(
            "What this test can show: {images} of {groups} (patients).",
            images=images,
            groups=groups,
        )
    ]
    if verdict["smallest_effect"] is not None:
        parts += [_what_stays_unseen(verdict["smallest_effect"])]
    elif comparisons := len(verdict["compared_with_best"]):
        parts += [_nothing_significant(groups, comparisons)]
    if verdict["groups"] == 1:
        parts += [
            say(
                "From one group there are no intervals: what stands in their place has no width, "
                "and says nothing about other patients."
            )
        ]
    elif verdict["groups"] < FEW_GROUPS:
        parts += [
            say(
                "With so few groups the intervals themselves are too narrow: they describe these "
                "patients and prove little about the next."
            )
        ]
    if verdict["room"] is not None:
        parts += [_room(verdict["room"], verdict["baseline"])]
    if verdict["foretold"]:
        parts += [_foretold(verdict["foretold"])]
    return sentences(*parts)


def _what_stays_unseen(smallest_effect: float) -> str:
    return say(
        "A method that is truly {points} points worse than the best would come out significantly "
        "worse in {power} % of such tests (median of the methods; minimum detectable effect, Bloom "
        "1995). A smaller one would often stay unseen, so “not significantly worse” is not “as "
        "good as”. All this tells of other patients, not of other training runs: see the SD over "
        "seeds.",
        points=decimal(100 * smallest_effect, 1),
        power=f"{100 * POWER:g}",
    )


def _nothing_significant(groups: str, comparisons: int) -> str:
    return say(
        "With {groups} and {comparisons} comparisons no difference, however large, could come "
        "out significant: cost decides only between methods within one point of each other, or "
        "between one that needs no training and one that does.",
        groups=groups,
        comparisons=comparisons,
    )


def _room(room: float, baseline: str) -> str:
    return say(
        "Choosing the best single setting for each image with the ground truth in hand would add "
        "{points} points to the objective of ‘{baseline}’: no choice of one setting an image can "
        "win more.",
        points=signed_points(room),
        baseline=baseline,
    )


def _foretold(foretold: Mapping[str, Any]) -> str:
    return say(
        "Against ‘{rival}’, one setting for all images, that is {room} points; ‘{method}’, the "
        "best regression on what can be seen of an image before the segmenter is asked, reaches "
        "{gain}.",
        rival=foretold["rival"],
        room=signed_points(foretold["room"]),
        method=foretold["method"],
        gain=signed_points(foretold["gain"]),
    )


def what_the_segmenter_saw(groups: int) -> str:
    """That scores flatter, where it learned from so many groups of validation and test."""
    return say(
        "The segmenter learned from {groups} of validation or test: the scores flatter every "
        "method that uses it.",
        groups=counted(groups, "group"),
    )
