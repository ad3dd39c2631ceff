"""The methods: what each does, and what it did to the test images."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vesselrl.report.document import Paragraph, Section, Table
from vesselrl.report.explanations import explanation
from vesselrl.report.language import mark, say
from vesselrl.report.words import decimal

NO_NAMES = (mark("none"), mark("all"), mark("unknown"))
"""What stands among the choices where no prompt or clean-up of a name was chosen."""


def methods(
    board: pd.DataFrame,
    choices: pd.DataFrame,
    specifications: Mapping[str, Mapping[str, Any]],
    experiments: Mapping[str, Mapping[str, Any]],
) -> Section:
    """What each method does, and what it did.

    Args:
        board: the leaderboard.
        choices: what each method decided for each image.
        specifications: method → its settings.
        experiments: experiment or regressor → its settings, of which methods are explained.
    """
    explained = Table(
        (say("Method"), say("What it does")),
        tuple(
            (
                row["method"],
                explanation(row["kind"], specifications.get(row["method"], {}), experiments),
            )
            for row in board.to_dict("records")
        ),
        text_columns=2,
    )
    rows = []
    for method in board["method"]:
        of_method = choices[choices["method"] == method]
        if of_method.empty:
            continue
        thresholds = pd.to_numeric(of_method["threshold"], errors="coerce")
        rows.append(
            (
                method,
                _most_frequent(of_method["prompt"]),
                _most_frequent(of_method["operations"]),
                decimal(thresholds.median(), 2),
            )
        )
    chosen = Table(
        (
            say("Method"),
            say("Most frequent prompt"),
            say("Most frequent clean-up"),
            say("Median threshold"),
        ),
        tuple(rows),
        text_columns=3,
        note=say(
            "Shares are of the test images. A policy that gives every image the same has become a "
            "static setting."
        ),
    )
    did = Paragraph(say("What each method did to the test images:"))
    return Section("methods", say("The methods"), (explained, did, chosen))


def _most_frequent(values: "pd.Series[Any]") -> str:
    counts = values.fillna("none").replace("", "none").astype(str).value_counts()
    name = counts.index[0]
    shown = say(name) if name in NO_NAMES else name
    return f"{shown} ({counts.iloc[0] / counts.sum():.0%})"
