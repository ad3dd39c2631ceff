"""What a method decided about an image, as a row of the table of choices."""

import time
from typing import Any

from vesselrl.evaluation.methods import (
    IMPORTED,
    NETWORK,
    POSTERIOR,
    Case,
    Decide,
    describe,
    draw,
)
from vesselrl.rl.actions import ActionSet

CHOICE_COLUMNS = [
    "method", "seed", "image", "prediction", "chooses", "state", "prompt", "threshold",
    "operations", "segmenter_calls", "seconds",
]  # fmt: skip


def choice(
    case: Case, decide: Decide, actions: ActionSet, a_call: float, network: float
) -> list[Any]:
    """Let a method decide: what it chose, in data and in words, and what that cost.

    Args:
        case: the image.
        decide: the method.
        actions: prompts, thresholds, operations.
        a_call: seconds of the segmenter for one prompt.
        network: seconds that the reward network took before for what the method looks at.

    Returns:
        The last seven of the `CHOICE_COLUMNS`.
    """
    started = time.perf_counter()
    decision = decide(case)
    # The networks' own maps are drawn within their time, an imported mask is there.
    if decision.chooses not in (POSTERIOR, IMPORTED, NETWORK):
        draw(decision.chooses, decision.state, case.probabilities, actions, posterior=None)
    seconds = a_call * decision.calls + network + time.perf_counter() - started
    if decision.seconds is not None:
        seconds = decision.seconds
    words = describe(decision, actions)
    return [
        decision.chooses,
        decision.encoded(),
        words["prompt"],
        words["threshold"],
        words["operations"],
        decision.calls,
        round(seconds, 6),
    ]
