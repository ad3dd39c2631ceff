"""What the comparison found: summary, leaderboard, paired differences, gallery, costs."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from vesselrl.metrics.masks import THIN_RADIUS
from vesselrl.report.document import (
    Block,
    Callout,
    Paragraph,
    Picture,
    Section,
    Table,
    Tile,
    Tiles,
)
from vesselrl.report.explanations import explanation
from vesselrl.report.limits import what_the_test_can_show
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.verdict import POWER
from vesselrl.report.words import (
    NOTHING,
    SCORE_NAMES,
    decimal,
    listed,
    objective_name,
    p_value,
    points_interval,
    signed_points,
    significant,
    with_interval,
)

Row = Mapping[Hashable, Any]


def summary(verdict: Mapping[str, Any], board: pd.DataFrame, settings: ReportParameters) -> Section:
    """The verdict, the targets and a short leaderboard."""
    chosen = board.set_index("method").to_dict("index")[verdict["recommended"]]
    tiles = [
        Tile(
            f"{SCORE_NAMES[t['metric']]} of ‘{verdict['recommended']}’",
            decimal(t["mean"]),
            f"CI {t['low']:.3f}–{t['high']:.3f}; target {t['target']:g} {t['status']}",
        )
        for t in verdict["targets"]
    ]
    cost = f"{significant(chosen['seconds'])} s an image"
    tiles.append(Tile("Segmenter calls an image", significant(chosen["segmenter_calls"]), cost))
    blocks: list[Block] = [Callout(text, "warning") for text in verdict["warnings"].values()]
    blocks += [Callout(verdict["sentence"], "verdict"), Tiles(tuple(tiles))]
    learning = verdict["reinforcement_learning"]
    if learning:
        order = f" Order of the policies: {listed(learning['ranking'])}."
        blocks.append(
            Callout(learning["sentence"] + (order if len(learning["ranking"]) > 1 else ""))
        )
    blocks += [
        Table(
            (
                "Method",
                "Objective",
                "Dice",
                "Recall",
                f"Dice against ‘{settings.baseline}’",
                "Calls",
            ),
            tuple(
                (
                    _marked(row),
                    decimal(row["objective"]),
                    decimal(row["dice"]),
                    decimal(row["recall"]),
                    _difference(row, settings),
                    significant(row["segmenter_calls"]),
                )
                for row in board.to_dict("records")
            ),
            marked_row=_place(board, verdict["recommended"]),
            note=_footnote(board, settings),
        ),
        Paragraph(f"How the method was chosen: {verdict['rule']}"),
        Paragraph(what_the_test_can_show(verdict, settings.alpha)),
    ]
    return Section("summary", "Summary", tuple(blocks))


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
        ("Method", "What it does"),
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
        ("Method", "Most frequent prompt", "Most frequent clean-up", "Median threshold"),
        tuple(rows),
        text_columns=3,
        note="Shares are of the test images. A policy that gives every image the same has become "
        "a static setting.",
    )
    return Section(
        "methods",
        "The methods",
        (explained, Paragraph("What each method did to the test images:"), chosen),
    )


def scores(
    board: pd.DataFrame, recommended: str, figure: bytes, settings: ReportParameters
) -> Section:
    """The whole leaderboard."""
    names = ["precision", "iou", "cldice", "hd95"]
    table = Table(
        (
            "Method",
            "Objective",
            "Dice (CI)",
            "Recall (CI)",
            *(SCORE_NAMES[name] for name in names),
            "SD over seeds",
            "Targets met",
        ),
        tuple(
            (
                _marked(row),
                decimal(row["objective"]),
                *(
                    with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
                    for name in ("dice", "recall")
                ),
                *(decimal(row[name], 1 if name == "hd95" else 3) for name in names),
                decimal(row["dice_sd_over_seeds"]),
                "yes" if row["targets_met"] else "no",
            )
            for row in board.to_dict("records")
        ),
        marked_row=_place(board, recommended),
        note=_footnote(board, settings)
        + " Means over seeds, then images. HD95 is the 95th percentile of the distance between the "
        "outlines, in pixels (less is better; the image's diagonal where one mask is empty).",
    )
    picture = Picture(
        figure,
        "leaderboard.png",
        "Dice and recall of each method with confidence intervals.",
        "Mean over the test images and its confidence interval. Hollow: not for use.",
    )
    branches = ["thin_recall", "thick_recall", "components_error"]
    of_branches = Table(
        ("Method", *(SCORE_NAMES[name] for name in branches)),
        tuple(
            (
                _marked(row),
                *(decimal(row[n], 1 if n == "components_error" else 3) for n in branches),
            )
            for row in board.to_dict("records")
        ),
        marked_row=_place(board, recommended),
        note=f"Vessels whose centreline is at most {THIN_RADIUS:g} pixels from the background are "
        f"thin: on average {decimal(100 * board['thin_share'].iloc[0], 0)} % of the true pixels. "
        "Regions are counted with diagonal neighbours; the difference in number, of either sign, "
        "is averaged (Betti number 0 error; less is better).",
    )
    return Section(
        "leaderboard",
        "Leaderboard",
        (picture, table, Paragraph("Are small branches found, and in one piece?"), of_branches),
    )


def paired(
    board: pd.DataFrame, verdict: Mapping[str, Any], figure: bytes, settings: ReportParameters
) -> Section:
    """Each method against the baseline and against the best, image by image."""
    others = board[board["method"] != settings.baseline]
    against_baseline = Table(
        ("Method", "Difference [points]", "CI", "p (Holm)", "Effect", "Wins", "Ties", "Losses"),
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
        note=f"Dice minus that of ‘{settings.baseline}’ on the same image; wins, ties and losses "
        "count images. Effect: matched-pairs rank-biserial correlation of groups, from −1 (worse "
        "in every group) over 0 to 1 (better in every group).",
    )
    against_best = Table(
        (
            "Method", "Behind the best by [points]", "CI", "p (Holm)", "Effect",
            "Detectable [points]", "Significantly worse",
        ),
        tuple(
            (
                row["method"],
                decimal(100 * row["difference"], 1),
                points_interval(row["low"], row["high"]),
                p_value(row["p"]),
                decimal(row["effect_size"], 2),
                NOTHING if row["detectable"] is None else decimal(100 * row["detectable"], 1),
                "yes" if row["method"] not in verdict["not_worse"] else "no",
            )
            for row in verdict["compared_with_best"]
        ),
        note=f"Objective of the best minus that of the method. The best, ‘{verdict['best']}’, was "
        "found on these same images, which flatters it a little. Detectable: the smallest true "
        f"difference that such a test finds with a probability of {100 * POWER:g} %.",
    )  # fmt: skip
    picture = Picture(
        figure,
        "paired_differences.png",
        f"Differences in Dice to ‘{settings.baseline}’, a dot an image.",
        "Each dot is one test image; the diamond is the mean, the bar its confidence interval.",
    )
    return Section(
        "paired",
        "Image by image",
        (
            Paragraph(
                "All methods saw the same images, so they are compared on each image and then "
                "averaged. Intervals resample whole patient groups (bootstrap, expanded for few "
                "groups); p-values flip the signs of whole groups and are corrected for the number "
                "of comparisons (Holm)."
            ),
            picture,
            against_baseline,
            *((against_best,) if against_best.rows else ()),
            Paragraph(what_the_test_can_show(verdict, settings.alpha)),
        ),
    )


def gallery(figure: bytes) -> Section:
    """Best, median and worst image."""
    picture = Picture(
        figure,
        "gallery.png",
        "Best, median and worst test image with the masks of two methods in colour.",
        "Left: the image. Then what a method found (sky blue), marked where there is no vessel "
        "(yellow) and missed (vermillion). The Dice of the first method chooses the images.",
        dark=True,
    )
    return Section("gallery", "Best, median and worst", (picture,))


def costs(board: pd.DataFrame, recommended: str, figure: bytes) -> Section:
    """What each method costs at deployment."""
    rows = board.sort_values(["segmenter_calls", "seconds"], ignore_index=True)
    table = Table(
        ("Method", "Segmenter calls an image", "Seconds an image", "Objective"),
        tuple(
            (
                _marked(row),
                significant(row["segmenter_calls"]),
                significant(row["seconds"]),
                decimal(row["objective"]),
            )
            for row in rows.to_dict("records")
        ),
        marked_row=_place(rows, recommended),
        note="Seconds on this machine, from image to mask. The segmenter's time for all prompts is "
        "shared equally among them; where prompts share an encoder, a single call takes longer.",
    )
    picture = Picture(
        figure,
        "quality_and_cost.png",
        "Objective against segmenter calls an image.",
        "Up is better, left is cheaper. The grey line joins the methods that nothing beats at "
        "their cost. Hollow: not for use.",
    )
    return Section("costs", "Quality and cost", (picture, table))


def _most_frequent(values: "pd.Series[Any]") -> str:
    counts = values.fillna("none").astype(str).replace("", "none").value_counts()
    return f"{counts.index[0]} ({counts.iloc[0] / counts.sum():.0%})"


def _marked(row: Row) -> str:
    return str(row["method"]) if row["deployable"] else f"{row['method']} *"


def _difference(row: Row, settings: ReportParameters) -> str:
    if row["method"] == settings.baseline:
        return NOTHING
    return (
        f"{signed_points(row['difference'])} "
        f"({points_interval(row['difference_low'], row['difference_high'])})"
    )


def _place(board: pd.DataFrame, method: str) -> int:
    return int(board.index[board["method"] == method][0])


def _footnote(board: pd.DataFrame, settings: ReportParameters) -> str:
    note = (
        f"Sorted by the objective, the {objective_name(settings.objective)}. "
        f"CI: {100 * (1 - settings.alpha):g} % confidence interval over groups; differences in "
        "points (hundredths)."
    )
    return note if board["deployable"].all() else f"{note} * For comparison only, not for use."
