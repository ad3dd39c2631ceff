"""The first section: the verdict, the targets, a short leaderboard, what the test can show."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from vesselrl.report.document import Block, Callout, Paragraph, Section, Table, Tile, Tiles
from vesselrl.report.language import mark, say, say_stored, sentences
from vesselrl.report.limits import what_the_test_can_show
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.tables import Row, footnote, marked_name, place
from vesselrl.report.words import (
    NOTHING,
    SCORE_NAMES,
    counted,
    decimal,
    listed,
    points_interval,
    signed_points,
    significant,
)

STATUSES = (
    mark("met"),
    mark("not met"),
    mark("met, within chance"),
    mark("not met, within chance"),
)
"""What the verdict says of a target."""


def summary(
    verdict: Mapping[str, Any],
    board: pd.DataFrame,
    settings: ReportParameters,
    warnings: int,
    quick: bool,
) -> Section:
    """The verdict, the targets and a short leaderboard.

    Args:
        verdict: the method to use and why.
        board: the leaderboard.
        settings: objective, targets, baseline.
        warnings: how many there are on the data, which `vesselrl.report.background.data` tells.
        quick: whether this was a quick run.
    """
    learning = verdict["reinforcement_learning"]
    blocks: list[Block] = [
        *(Callout(say_stored(text), "warning") for text in verdict["warnings"].values()),
        Callout(say_stored(verdict["sentence"]), "verdict"),
    ]
    if warnings:
        text = say("{warnings} on the data; see ‘Data and splits’.",
                   warnings=counted(warnings, "warning"))  # fmt: skip
        blocks.append(Callout(text, "warning"))
    if quick:
        text = say("A quick run: networks and policies were trained too briefly to be judged by "
                   "it. Without quick:true the same command is the full form.")  # fmt: skip
        blocks.append(Callout(text, "warning"))
    blocks.append(Tiles(_tiles(verdict, board)))
    if learning:
        order = say("Order of the policies: {policies}.", policies=listed(learning["ranking"]))
        several = len(learning["ranking"]) > 1
        blocks.append(
            Callout(sentences(say_stored(learning["sentence"]), order if several else ""))
        )
    blocks += [
        Table(
            (
                say("Method"),
                say("Objective"),
                say("Dice"),
                say("Recall"),
                say("Dice against ‘{baseline}’", baseline=settings.baseline),
                say("Calls"),
            ),
            tuple(
                (
                    marked_name(row),
                    decimal(row["objective"]),
                    decimal(row["dice"]),
                    decimal(row["recall"]),
                    _difference(row, settings),
                    significant(row["segmenter_calls"]),
                )
                for row in board.to_dict("records")
            ),
            marked_row=place(board, verdict["recommended"]),
            note=footnote(board, settings),
        ),
        Paragraph(sentences(*_choice(verdict))),
        Paragraph(what_the_test_can_show(verdict)),
    ]
    if settings.language != "en":
        blocks.append(
            Paragraph(say("Figures, and messages quoted from files and programs, are in English."))
        )
    return Section("summary", say("Summary"), tuple(blocks))


def _tiles(verdict: Mapping[str, Any], board: pd.DataFrame) -> tuple[Tile, ...]:
    chosen = board.set_index("method").to_dict("index")[verdict["recommended"]]
    tiles = [
        Tile(
            say(
                "{score} of ‘{method}’",
                score=say(SCORE_NAMES[target["metric"]]),
                method=verdict["recommended"],
            ),
            decimal(target["mean"]),
            say(
                "CI {low}–{high}; target {target} {status}",
                low=decimal(target["low"]),
                high=decimal(target["high"]),
                target=f"{target['target']:g}",
                status=say(target["status"]),
            ),
        )
        for target in verdict["targets"]
    ]
    calls = Tile(
        say("Segmenter calls an image"),
        significant(chosen["segmenter_calls"]),
        say("{seconds} s an image", seconds=significant(chosen["seconds"])),
    )
    return (*tiles, calls)


def _difference(row: Row, settings: ReportParameters) -> str:
    if row["method"] == settings.baseline:
        return NOTHING
    interval = points_interval(row["difference_low"], row["difference_high"])
    return f"{signed_points(row['difference'])} ({interval})"


def _choice(verdict: Mapping[str, Any]) -> Iterator[str]:
    """By which rule the method was chosen, and what that leaves out."""
    yield say("How the method was chosen: {rule}", rule=say_stored(verdict["rule"]))
    if verdict["below_random"]:
        yield say(
            "Left out for their Dice, significantly below that of settings drawn at random: "
            "{methods}.",
            methods=listed(verdict["below_random"]),
        )
