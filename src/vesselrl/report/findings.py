"""What the comparison found: leaderboard, paired differences, thresholds, gallery."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vesselrl.metrics.masks import THIN_RADIUS
from vesselrl.report.document import Paragraph, Picture, Section, Table
from vesselrl.report.language import say, sentences
from vesselrl.report.limits import what_the_test_can_show
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.tables import footnote, marked_name, place, yes
from vesselrl.report.verdict import POWER
from vesselrl.report.words import (
    NOTHING,
    SCORE_NAMES,
    decimal,
    p_value,
    points_interval,
    signed_points,
    with_interval,
)


def scores(
    board: pd.DataFrame,
    recommended: str,
    figure: bytes,
    settings: ReportParameters,
    metrics: Sequence[str] = (),
) -> Section:
    """The whole leaderboard, with the further ``metrics`` that conf asked for."""
    names = ["precision", "iou", "cldice", "hd95"]
    table = Table(
        (
            say("Method"),
            say("Objective"),
            say("Dice (CI)"),
            say("Recall (CI)"),
            *(say(SCORE_NAMES[name]) for name in names),
            *metrics,
            say("SD over seeds"),
            say("Targets met"),
        ),
        tuple(
            (
                marked_name(row),
                decimal(row["objective"]),
                *(
                    with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
                    for name in ("dice", "recall")
                ),
                *(decimal(row[name], 1 if name == "hd95" else 3) for name in names),
                *(decimal(row[name]) for name in metrics),
                decimal(row["dice_sd_over_seeds"]),
                yes(row["targets_met"]),
            )
            for row in board.to_dict("records")
        ),
        marked_row=place(board, recommended),
        note=sentences(
            footnote(board, settings),
            say(
                "Means over seeds, then images. HD95 is the 95th percentile of the distance "
                "between the outlines, in pixels (less is better; the image's diagonal where one "
                "mask is empty)."
            ),
        ),
    )
    picture = Picture(
        figure,
        "leaderboard.png",
        say("Dice and recall of each method with confidence intervals."),
        say("Mean over the test images and its confidence interval. Hollow: not for use."),
    )
    return Section(
        "leaderboard",
        say("Leaderboard"),
        (
            picture,
            table,
            Paragraph(say("Are small branches found, and in one piece?")),
            _branches(board, recommended),
        ),
    )


def _branches(board: pd.DataFrame, recommended: str) -> Table:
    """Scores of thin and of thick vessels, and of the number of regions."""
    names = ["thin_recall", "thick_recall", "components_error"]
    return Table(
        (say("Method"), *(say(SCORE_NAMES[name]) for name in names)),
        tuple(
            (
                marked_name(row),
                *(decimal(row[n], 1 if n == "components_error" else 3) for n in names),
            )
            for row in board.to_dict("records")
        ),
        marked_row=place(board, recommended),
        note=say(
            "Vessels whose centreline is at most {radius} pixels from the background are thin: on "
            "average {share} % of the true pixels. Regions are counted with diagonal neighbours; "
            "the difference in number, of either sign, is averaged (Betti number 0 error; less is "
            "better).",
            radius=f"{THIN_RADIUS:g}",
            share=decimal(100 * board["thin_share"].iloc[0], 0),
        ),
    )


def paired(
    board: pd.DataFrame, verdict: Mapping[str, Any], figure: bytes, settings: ReportParameters
) -> Section:
    """Each method against the baseline and against the best, image by image."""
    others = board[board["method"] != settings.baseline]
    against_baseline = Table(
        (
            say("Method"),
            say("Difference [points]"),
            say("CI"),
            say("p (Holm)"),
            say("Effect"),
            say("Wins"),
            say("Ties"),
            say("Losses"),
        ),
        tuple(
            (
                row["method"],
                signed_points(row["difference"]),
                points_interval(row["difference_low"], row["difference_high"]),
                p_value(row["difference_p"]),
                decimal(row["effect_size"], 2),
                *(str(row[name]) for name in ("wins", "ties", "losses")),
            )
            for row in others.to_dict("records")
        ),
        note=say(
            "Dice minus that of ‘{baseline}’ on the same image; wins, ties and losses count "
            "images. Effect: matched-pairs rank-biserial correlation of groups, from −1 (worse in "
            "every group) over 0 to 1 (better in every group).",
            baseline=settings.baseline,
        ),
    )
    against_best = Table(
        (
            say("Method"),
            say("Behind the best by [points]"),
            say("CI"),
            say("p (Holm)"),
            say("Effect"),
            say("Detectable [points]"),
            say("Significantly worse"),
        ),
        tuple(
            (
                row["method"],
                decimal(100 * row["difference"], 1),
                points_interval(row["low"], row["high"]),
                p_value(row["p"]),
                decimal(row["effect_size"], 2),
                NOTHING if row["detectable"] is None else decimal(100 * row["detectable"], 1),
                NOTHING
                if row["method"] in verdict["below_random"]
                else yes(row["method"] not in verdict["not_worse"]),
            )
            for row in verdict["compared_with_best"]
        ),
        note=say(
            "Objective of the best minus that of the method. The best, ‘{best}’, was found on "
            "these same images, which flatters it a little. Detectable: the smallest true "
            "difference that such a test finds with a probability of {power} %.",
            best=verdict["best"],
            power=f"{100 * POWER:g}",
        ),
    )
    picture = Picture(
        figure,
        "paired_differences.png",
        say("Differences in Dice to ‘{baseline}’, a dot an image.", baseline=settings.baseline),
        say(
            "Each dot is one test image; the diamond is the mean, the bar its confidence interval."
        ),
    )
    how = say(
        "All methods saw the same images, so they are compared on each image and then averaged. "
        "Intervals resample whole patient groups (bootstrap, expanded for few groups); p-values "
        "flip the signs of whole groups and are corrected for the number of comparisons (Holm)."
    )
    return Section(
        "paired",
        say("Image by image"),
        (
            Paragraph(how),
            picture,
            against_baseline,
            *((against_best,) if against_best.rows else ()),
            Paragraph(what_the_test_can_show(verdict)),
        ),
    )


def thresholds(figure: bytes) -> Section:
    """The scores of two prompts over all thresholds, and where each method stands."""
    picture = Picture(
        figure,
        "thresholds.png",
        say("Dice, recall and precision of two prompts over thresholds, and all methods' points."),
        say(
            "Mean over the test images of the maps of the default prompt and of the best static "
            "prompt, cut at every threshold and not cleaned up. Left: Dice and recall; the dotted "
            "line is the default threshold. Right: each number is a method at its own precision "
            "and recall, filled where it is for use. A point off the curves has another prompt, "
            "or a clean-up, or a threshold of its own for each image."
        ),
    )
    text = say(
        "How much is won by the threshold alone? These curves were drawn with the ground truth of "
        "the test images: they show what could be reached and choose nothing."
    )
    return Section("thresholds", say("Thresholds"), (Paragraph(text), picture))


def gallery(figure: bytes) -> Section:
    """Best, median and worst image."""
    picture = Picture(
        figure,
        "gallery.png",
        say("Best, median and worst test image with the masks of two methods in colour."),
        say(
            "Left: the image. Then what a method found (sky blue), marked where there is no vessel "
            "(yellow) and missed (vermillion). The Dice of the first method chooses the images."
        ),
        photographs=True,
    )
    return Section("gallery", say("Best, median and worst"), (picture,))
