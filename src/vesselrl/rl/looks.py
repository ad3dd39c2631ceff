"""What the looks at validation images tell: which policy is kept, when to end, what went wrong.

What a policy is paid for, the proxy, goes on rising when the truth, gold, has begun to fall (Gao,
Schulman and Hilton, "Scaling laws for reward model overoptimization", ICML 2023, arXiv:2210.10760).
So gold decides which policy is kept and when there is no use in going on.

A history has one row an update; a look fills ``val_gold`` and ``val_proxy``, the mean objective of
the validation images, true and as the reward network predicts it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vesselrl.early_stopping import is_exhausted
from vesselrl.rl.parameters import Judge

ALL_STEPS = "all steps"
"""Why a training ended that was not ended early."""
Row = Mapping[str, float]

LOOK_TAGS = {
    "custom/val_dice": "val_dice",
    "custom/val_objective": "val_gold",
    "custom/val_proxy_objective": "val_proxy",
}
"""TensorBoard tag → column of the history, filled at the updates after which there was a look."""
TOLERANCE = 0.01
"""Gold objective that may be lost from its best before the loss counts as more than noise."""


def looks(history: Sequence[Row]) -> list[Row]:
    """The rows of the updates after which there was a look."""
    return [row for row in history if "val_gold" in row]


def kept(history: Sequence[Row]) -> Row | None:
    """The row whose policy is kept: the best gold, of equals the one that has learned longer.

    None without validation images.
    """
    return max(looks(history), key=lambda row: (row["val_gold"], row["steps"]), default=None)


def reason_to_end(history: Sequence[Row], steps: int, planned: int, patience: int) -> str:
    """Why a training ends now; empty if it goes on.

    Args:
        history: a row an update.
        steps: that were made.
        planned: so many there are to be.
        patience: so many looks may bring no better gold.
    """
    if steps >= planned:
        return ALL_STEPS
    if is_exhausted([row["val_gold"] for row in looks(history)], patience):
        return f"no better validation score for {patience} looks"
    return ""


def over_optimisation(history: Sequence[Row], paid_by: Judge) -> dict[str, Any]:
    """Whether the policy learned to please the reward network at the truth's expense.

    It did if the reward network paid and, on validation images, gold at the last look is lower than
    at the best by more than `TOLERANCE` while the proxy is higher.

    Returns:
        ``overoptimised``, and the objective it rests on: ``gold_best``, ``gold_last``,
        ``proxy_at_best``, ``proxy_last``; each None without validation images.
    """
    best = kept(history)
    if best is None:
        names = ("overoptimised", "gold_best", "gold_last", "proxy_at_best", "proxy_last")
        return dict.fromkeys(names)
    last = looks(history)[-1]
    return {
        "overoptimised": paid_by == "reward_network"
        and best["val_gold"] - last["val_gold"] > TOLERANCE
        and last["val_proxy"] > best["val_proxy"],
        "gold_best": best["val_gold"],
        "gold_last": last["val_gold"],
        "proxy_at_best": best["val_proxy"],
        "proxy_last": last["val_proxy"],
    }
