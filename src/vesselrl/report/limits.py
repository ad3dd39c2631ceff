"""What the test images can and cannot show, in words."""

from collections.abc import Mapping
from typing import Any

from vesselrl.metrics.statistics import smallest_p
from vesselrl.report.verdict import POWER
from vesselrl.report.words import counted, signed_points

FEW_GROUPS = 10
"""With fewer groups a bootstrap interval comes out too narrow."""


def what_the_test_can_show(verdict: Mapping[str, Any], alpha: float) -> str:
    """How far these test images carry, in words."""
    text = (
        f"What this test can show: {counted(verdict['images'], 'image')} of "
        f"{counted(verdict['groups'], 'group')} (patients). "
    )
    if verdict["smallest_effect"] is not None:
        text += (
            f"A method that is truly {100 * verdict['smallest_effect']:.1f} points worse than the "
            f"best would come out significantly worse in {100 * POWER:g} % of such tests (median "
            "of the methods; minimum detectable effect, Bloom 1995). A smaller one would often "
            "stay unseen, so “not significantly worse” is not “as good as”. All this tells of "
            "other patients, not of other training runs: see the SD over seeds. "
        )
    comparisons = len(verdict["compared_with_best"])
    if comparisons and comparisons * smallest_p(verdict["groups"]) >= alpha:
        text += (
            f"With {counted(verdict['groups'], 'group')} and {comparisons} comparisons no "
            "difference, however large, could come out significant: the choice rests on "
            "the scores alone. "
        )
    if verdict["groups"] < FEW_GROUPS:
        text += (
            "With so few groups the intervals themselves are too narrow: they describe these "
            "patients and prove little about the next. "
        )
    if verdict["room"] is not None:
        text += (
            "Choosing the best single setting for each image with the ground truth in hand would "
            f"add {signed_points(verdict['room'])} points to the objective of "
            f"‘{verdict['baseline']}’: no choice of one setting an image can win more. "
        )
    if foretold := verdict["foretold"]:
        text += (
            f"Against ‘{foretold['rival']}’, one setting for all images, that is "
            f"{signed_points(foretold['room'])} points; ‘{foretold['method']}’, the best "
            "regression on what can be seen of an image before the segmenter is asked, reaches "
            f"{signed_points(foretold['gain'])}. "
        )
    return text.strip()
