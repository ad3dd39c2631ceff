"""The first section: the verdict, the targets, a short leaderboard, what the test can show."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vesselrl.report.comparison import smallest_p
from vesselrl.report.document import Block, Callout, Paragraph, Section, Table, Tile, Tiles
from vesselrl.report.language import mark, say, say_stored
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

FEW_GROUPS = 10
"""With fewer groups a bootstrap interval comes out too narrow."""
STATUSES = (
    mark("met"),
    mark("not met"),
    mark("met, within chance"),
    mark("not met, within chance"),
)
"""What the verdict says of a target."""


def summary(verdict: Mapping[str, Any], board: pd.DataFrame, settings: ReportParameters) -> Section:
    """The verdict, the targets and a short leaderboard."""
    learning = verdict["reinforcement_learning"]
    blocks: list[Block] = [
        Callout(say_stored(verdict["sentence"]), "verdict"),
        Tiles(_tiles(verdict, board)),
    ]
    if learning:
        order = say(" Order of the policies: {policies}.", policies=listed(learning["ranking"]))
        sentence = say_stored(learning["sentence"])
        blocks.append(Callout(sentence + (order if len(learning["ranking"]) > 1 else "")))
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
        Paragraph(say("How the method was chosen: {rule}", rule=say_stored(verdict["rule"]))),
        Paragraph(what_the_test_can_show(verdict, settings.alpha)),
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


def what_the_test_can_show(verdict: Mapping[str, Any], alpha: float) -> str:
    """How far these test images carry, in words."""
    text = say(
        "What this test can show: {images} of {groups} (patients). ",
        images=counted(verdict["images"], "image"),
        groups=counted(verdict["groups"], "group"),
    )
    if verdict["smallest_effect"] is not None:
        text += say(
            "Differences between methods are known to ±{points} points or so (half-width of the "
            "paired intervals); a smaller effect would stay unseen, so “not significantly worse” "
            "is not “as good as”. The intervals tell of other patients, not of other training "
            "runs: see the SD over seeds. ",
            points=decimal(100 * verdict["smallest_effect"], 1),
        )
    comparisons = len(verdict["compared_with_best"])
    if comparisons and comparisons * smallest_p(verdict["groups"]) >= alpha:
        text += say(
            "With {groups} and {comparisons} comparisons no difference, however large, could come "
            "out significant: the choice rests on the scores alone. ",
            groups=counted(verdict["groups"], "group"),
            comparisons=comparisons,
        )
    if verdict["groups"] < FEW_GROUPS:
        text += say(
            "With so few groups the intervals themselves are too narrow: they describe these "
            "patients and prove little about the next. "
        )
    if verdict["room"] is not None:
        text += say(
            "Choosing the best single setting for each image with the ground truth in hand would "
            "add {points} points to the objective of ‘{baseline}’: no choice of one setting an "
            "image can win more. ",
            points=signed_points(verdict["room"]),
            baseline=verdict["baseline"],
        )
    if foretold := verdict["foretold"]:
        text += say(
            "Against ‘{rival}’, one setting for all images, that is {room} points; ‘{method}’, the "
            "best regression on what can be seen of an image before the segmenter is asked, "
            "reaches {gain}. ",
            rival=foretold["rival"],
            room=signed_points(foretold["room"]),
            method=foretold["method"],
            gain=signed_points(foretold["gain"]),
        )
    return text.strip()


def _difference(row: Row, settings: ReportParameters) -> str:
    if row["method"] == settings.baseline:
        return NOTHING
    interval = points_interval(row["difference_low"], row["difference_high"])
    return f"{signed_points(row['difference'])} ({interval})"
