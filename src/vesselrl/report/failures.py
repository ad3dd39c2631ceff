"""What went wrong: images the segmenter failed on, refused entries, methods not run, bad masks."""

from collections.abc import Mapping, Sequence

import pandas as pd

from vesselrl.report.document import Block, Callout, Paragraph, Section, Table
from vesselrl.report.language import say, say_stored
from vesselrl.report.words import counted, decimal

LONGEST_LIST = 30
"""Rows of a list shown in the report; the file beside it has all."""
WORST = 5


def failures(
    segment_failures: pd.DataFrame,
    not_run: Sequence[Mapping[str, str]],
    refused: int,
    worst: Table,
) -> Section:
    """Images and methods that failed, and the images the recommended method does worst on.

    Args:
        segment_failures: columns id, error.
        not_run: rows method, command.
        refused: how many entries were refused.
        worst: see `worst_images`.
    """
    blocks: list[Block] = []
    if len(segment_failures):
        blocks += [
            Callout(
                say(
                    "The segmenter failed on {images}; an empty mask stands in for its answer, and "
                    "the scores include it.",
                    images=counted(len(segment_failures), "image"),
                ),
                "warning",
            ),
            listing(segment_failures, {"id": say("Image"), "error": say("Error")},
                    "segment_failures.csv"),
        ]  # fmt: skip
    else:
        blocks.append(Paragraph(say("The segmenter processed every image.")))
    if refused:
        text = say(
            "{entries} refused; see ‘Data and splits’.", entries=counted(refused, "annotation")
        )
        blocks.append(Paragraph(text))
    if not_run:
        rows = tuple((str(m["method"]), say_stored(str(m["command"]))) for m in not_run)
        text = say("Methods that were not run, and what to do for them to be:")
        blocks += [Paragraph(text), Table((say("Method"), say("What to do")), rows, text_columns=2)]
    text = say("The test images on which the recommended method has the lowest Dice:")
    blocks += [Paragraph(text), worst]
    return Section("failures", say("Failures, and what was not run"), tuple(blocks))


def worst_images(
    scores: pd.DataFrame, board: pd.DataFrame, recommended: str, failed: Sequence[str]
) -> Table:
    """The images a method does worst on, and whether another does better there.

    Args:
        scores: index (method, image), columns group, dice and recall.
        board: the leaderboard, which tells the methods that may be used.
        recommended: the method whose Dice decides.
        failed: ids of the images on which the segmenter failed.
    """
    own = pd.DataFrame(scores.loc[recommended]).nsmallest(WORST, "dice")
    usable = board.loc[board["deployable"], "method"]
    dice = scores.loc[list(usable), "dice"].unstack("method")
    rows = tuple(
        (
            say("{image} (segmenter failed)", image=image) if image in failed else str(image),
            str(row["group"]),
            decimal(row["dice"]),
            decimal(row["recall"]),
            f"{decimal(dice.loc[image].max())} ({dice.loc[image].idxmax()})",
        )
        for image, row in own.iterrows()
    )
    return Table(
        (
            say("Image"),
            say("Group"),
            say("Dice"),
            say("Recall"),
            say("Best Dice of any method for use"),
        ),
        rows,
        text_columns=2,
        note=say(
            "Of ‘{method}’. Where even the best method's Dice is low, the image or its annotation "
            "is worth a look.",
            method=recommended,
        ),
    )


def listing(frame: pd.DataFrame, columns: Mapping[str, str], file: str) -> Table:
    """The first rows of a table.

    Args:
        frame: the table.
        columns: column to show → its heading.
        file: which file has all rows.
    """
    shown = frame.head(LONGEST_LIST).fillna("")
    rest = len(frame) - len(shown)
    return Table(
        tuple(columns.values()),
        tuple(tuple(str(row[column]) for column in columns) for _, row in shown.iterrows()),
        text_columns=len(columns),
        note=say("{rest} more in {file}.", rest=f"{rest:,}", file=file) if rest else "",
    )
