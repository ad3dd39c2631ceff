"""What the tables of methods have in common."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from vesselrl.report.language import say, sentences
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.words import objective_name

Row = Mapping[Hashable, Any]


def marked_name(row: Row) -> str:
    """The name of a method, with a star where it is not for use."""
    return str(row["method"]) if row["deployable"] else f"{row['method']} *"


def place(board: pd.DataFrame, method: str) -> int:
    """In which row a method stands."""
    return int(board.index[board["method"] == method][0])


def stars(board: pd.DataFrame) -> str:
    """What the stars of `marked_name` mean, where there are any."""
    return "" if board["deployable"].all() else say("* For comparison only, not for use.")


def footnote(board: pd.DataFrame, settings: ReportParameters) -> str:
    """How a leaderboard is sorted and what its intervals cover."""
    text = say(
        "Sorted by the objective, the {objective}. CI: {percent} % confidence interval over "
        "groups; differences in points (hundredths).",
        objective=objective_name(settings.objective),
        percent=f"{100 * (1 - settings.alpha):g}",
    )
    return sentences(text, stars(board))


def yes(condition: bool) -> str:
    """``yes`` or ``no``."""
    return say("yes") if condition else say("no")
