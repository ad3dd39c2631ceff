"""Quality and cost, and what has to be deployed."""

import numpy as np
import pandas as pd

from vesselrl.report.costs import IN_TRAINING, IN_USE, NOT_NEEDED
from vesselrl.report.document import Paragraph, Picture, Section, Table
from vesselrl.report.language import mark, say, sentences
from vesselrl.report.tables import marked_name, place, stars
from vesselrl.report.words import NOTHING, decimal, significant

WHERE = {
    NOT_NEEDED: mark("not needed"),
    IN_TRAINING: mark("for training"),
    IN_USE: mark("in use"),
}
"""Where the reward network is needed → in words."""


def costs(board: pd.DataFrame, table: pd.DataFrame, recommended: str, figure: bytes) -> Section:
    """What each method costs at deployment, and what it takes to get it there.

    Args:
        board: the leaderboard.
        table: see `vesselrl.report.costs.method_costs`.
        recommended: the method to stand out.
        figure: PNG of quality against cost.
    """
    names = board[["method", "deployable", "objective"]]
    rows = names.merge(table, on="method").sort_values(
        ["segmenter_calls", "seconds"], ignore_index=True
    )
    picture = Picture(
        figure,
        "quality_and_cost.png",
        say("Objective against segmenter calls an image."),
        say(
            "Up is better, left is cheaper. The line joins the methods for use that nothing beats "
            "at their cost (Pareto front). On grey: methods whose cost is unknown. Hollow: not for "
            "use."
        ),
    )
    return Section(
        "costs",
        say("Quality and cost"),
        (
            picture,
            _running(rows, recommended),
            Paragraph(say("What it takes to have each method:")),
            _having(rows, recommended),
        ),
    )


def _running(rows: pd.DataFrame, recommended: str) -> Table:
    return Table(
        (
            say("Method"),
            say("Objective"),
            say("Segmenter calls an image"),
            say("Encoder passes"),
            say("Milliseconds an image"),
            say("of these: segmenter"),
            say("reward network"),
            say("all else"),
        ),
        tuple(
            (
                marked_name(row),
                decimal(row["objective"]),
                significant(row["segmenter_calls"]),
                significant(row["encoder_passes"]),
                *(
                    significant(1000 * row[name])
                    for name in (
                        "seconds", "segmenter_seconds", "network_seconds", "other_seconds",
                    )
                ),
            )
            for row in rows.to_dict("records")
        ),
        marked_row=place(rows, recommended),
        note=sentences(say(
            "Time on this machine, from image to mask, mean over seeds, then images. The "
            "segmenter's time for all prompts is shared equally among them; where prompts share an "
            "encoder, a single call takes longer. Prompts that are asked together take one pass "
            "of the encoder, if the segmenter has one; a policy that looks at each answer before "
            "the next question takes one a question. All else: a policy or a network of the "
            "method's own, and clean-up. A dash: unknown, or not measured apart and then within "
            "the last column."
        ), stars(rows)),
    )  # fmt: skip


def _having(rows: pd.DataFrame, recommended: str) -> Table:
    return Table(
        (
            say("Method"),
            say("Reward network"),
            say("Files to deploy"),
            say("Trained parameters"),
            say("Training [min]"),
            say("Reward network's training [min]"),
            say("Lines of configuration"),
        ),
        tuple(
            (
                marked_name(row),
                say(WHERE[row["reward_network"]]) if row["reward_network"] else NOTHING,
                row["files"] or NOTHING,
                _whole(row["parameters"]),
                *(
                    significant(row[name] / 60)
                    for name in ("training_seconds", "network_training_seconds")
                ),
                _whole(row["configuration_lines"]),
            )
            for row in rows.to_dict("records")
        ),
        text_columns=3,
        marked_row=place(rows, recommended),
        note=sentences(
            say(
                "Beside the segmenter, where it is called. Parameters are those of the files to "
                "deploy. Training is of one seed, mean over seeds; that of the reward network, "
                "whose members are trained side by side, serves all methods that need it. A dash: "
                "not recorded. Lines of YAML that shape the method, as printed at the end of this "
                "report."
            ),
            stars(rows),
        ),
    )


def _whole(value: float) -> str:
    return f"{int(value):,}" if np.isfinite(value) else NOTHING
