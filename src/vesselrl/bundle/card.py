"""The model card of a bundle (Mitchell et al., "Model cards for model reporting", FAT* 2019).

It has counts and scores; no name of an image, a patient or a group.
"""

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import pandas as pd

from vesselrl.errors import VesselrlError
from vesselrl.prediction.recipe import Recipe
from vesselrl.report.document import Block, Bullets, Callout, Code, Document, Paragraph, Section
from vesselrl.report.document import Table as TableBlock
from vesselrl.report.explanations import explanation
from vesselrl.report.limits import what_the_test_can_show
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.render import render_markdown
from vesselrl.report.tables import footnote, marked_name, place
from vesselrl.report.words import counted, decimal, points_interval, signed_points, with_interval

INTENDED_USE = (
    "Research, not a medical device: nobody has shown that decisions about patients may rest on "
    "these masks. It is meant to outline vessels in images like those it was made from, for "
    "somebody who looks at every mask or measures how far they can be relied on."
)
USE = """\
import vesselrl
predictor = vesselrl.load_bundle("this folder, or bundle.zip")
mask = predictor.predict(image).mask  # image: uint8 (H, W) or (H, W, 3); mask: bool (H, W)"""
MAY_DIFFER = (
    "Another clinic, device or way of annotating may give other scores than these. "
    "out_of_distribution tells how unlike the training images one is; it does not see everything.",
    "The predicted Dice and its interval were fitted to images like those of validation; on "
    "others they promise nothing.",
    "The same versions of the packages, on the same kind of processor, give the same mask bit for "
    "bit; others may differ in single pixels.",
)
FILES = {
    "recipe.json": "what the method is: settings, and what validation images taught",
    "weights.safetensors": "all weights of the recipe",
    "segmenter.safetensors": "weights of the segmenter",
    "configuration.yml": "every parameter of the run that made it",
    "onnx/": "networks for programs without Python, see docs/bundle.md of vesselrl",
    "manifest.json": "size and SHA-256 of every file",
}
"""File or folder → what it is."""


def model_card(
    recipe: Recipe,
    samples: pd.DataFrame,
    leaderboard: pd.DataFrame,
    verdict: Mapping[str, Any],
    trained: Mapping[str, Mapping[str, Any]],
    files: Collection[str],
    licence: str,
    settings: ReportParameters,
) -> str:
    """The card as Markdown.

    Args:
        recipe: of the method.
        samples: columns split and group.
        leaderboard: see `vesselrl.report.comparison.leaderboard`.
        verdict: see `vesselrl.report.verdict.verdict`.
        trained: experiment or regressor → its settings, see
            `vesselrl.report.explanations.explanation`.
        files: names of the bundle's other files.
        licence: under which the bundle is handed on.
        settings: objective and statistics.

    Raises:
        VesselrlError: the method is not in the leaderboard.
    """
    if recipe.name not in set(leaderboard["method"]):
        raise VesselrlError(
            f"The method ‘{recipe.name}’ has no scores on the test images, which a model card "
            "gives: run kedro run --pipeline evaluation, or bundle another method."
        )
    (row,) = leaderboard[leaderboard["method"] == recipe.name].to_dict("records")
    specification = recipe.method.model_dump(mode="json", exclude_none=True)
    names = [name for name in FILES if any(file.startswith(name) for file in files)]
    document = Document(
        title=f"Vessel segmentation: {recipe.name}",
        subtitle=explanation(recipe.method.kind, specification, trained),
        sections=(
            Section("use", "How to use it", (Code(USE, "With vesselrl, without Kedro:"),)),
            Section("intended", "Intended use", (Callout(INTENDED_USE, "warning"),)),
            Section("data", "Data", _data(samples)),
            Section("scores", "Scores on the test images", _scores(recipe, row, settings)),
            Section("compared", "What it was compared with", _compared(recipe, leaderboard,
                                                                      verdict, settings)),
            Section("limits", "Limits", _limits(recipe, verdict, settings)),
            Section("files", "Files", (Bullets(tuple(f"{n}: {FILES[n]}" for n in names)),)),
            Section("licence", "Licence", (Paragraph(licence),)),
        ),
    )  # fmt: skip
    return render_markdown(document)


def _data(samples: pd.DataFrame) -> tuple[Block, ...]:
    splits = [s for s in ("train", "val", "test", "unlabelled") if s in set(samples["split"])]
    parts = {split: samples[samples["split"] == split] for split in splits}
    rows = tuple(
        (split, f"{len(part):,}", f"{part['group'].nunique():,}") for split, part in parts.items()
    )
    text = (
        f"{counted(len(samples), 'image')} of {counted(samples['group'].nunique(), 'group')} "
        "(patients, studies or videos). Training images teach, validation images choose and "
        "calibrate, test images are only measured."
    )
    return Paragraph(text), TableBlock(("Split", "Images", "Groups"), rows)


def _scores(
    recipe: Recipe, row: Mapping[Hashable, Any], settings: ReportParameters
) -> tuple[Block, ...]:
    shown = {"objective": "objective", "dice": "Dice", "recall": "recall"}
    rows = [
        (name, with_interval(row[score], row[f"{score}_low"], row[f"{score}_high"]))
        for score, name in shown.items()
    ]
    plain = {"precision": "precision", "iou": "IoU", "cldice": "clDice"}
    rows += [(name, decimal(row[score])) for score, name in plain.items()]
    rows += [
        ("segmenter calls an image", f"{row['segmenter_calls']:.2g}"),
        ("seconds an image, where it was measured", decimal(row["seconds"])),
    ]
    percent = f"{100 * (1 - settings.alpha):g}"
    seeds = int(row["seeds"])
    note = (
        f"{counted(int(row['images']), 'image')} of {counted(int(row['groups']), 'group')}; in "
        f"brackets the {percent} % confidence interval, which resamples groups."
    )
    if seeds > 1:
        note += f" Mean of {seeds} trainings; the bundle holds the first."
    interval = (
        f"The predicted Dice comes with an interval meant to hold the true one in "
        f"{100 * recipe.calibration.coverage:g} % of images, from "
        f"{counted(recipe.calibration.groups, 'group')} of validation images."
    )
    return TableBlock(("Score", "Value"), tuple(rows), note=note), Paragraph(interval)


def _compared(
    recipe: Recipe, board: pd.DataFrame, verdict: Mapping[str, Any], settings: ReportParameters
) -> tuple[Block, ...]:
    rows = tuple(
        (
            marked_name(row),
            decimal(row["objective"]),
            decimal(row["dice"]),
            decimal(row["recall"]),
            "–"
            if row["method"] == settings.baseline
            else f"{signed_points(row['difference'])} "
            f"({points_interval(row['difference_low'], row['difference_high'])})",
        )
        for row in board.to_dict("records")
    )
    header = ("Method", "Objective", "Dice", "Recall", f"Dice against ‘{settings.baseline}’")
    note = footnote(board, settings)
    table = TableBlock(header, rows, marked_row=place(board, recipe.name), note=note)
    return table, Paragraph(verdict["sentence"])


def _limits(
    recipe: Recipe, verdict: Mapping[str, Any], settings: ReportParameters
) -> tuple[Block, ...]:
    warnings = [text for name, text in verdict["warnings"].items() if name == recipe.name]
    others = [] if verdict["recommended"] == recipe.name else [
        f"The report recommends another method, ‘{verdict['recommended']}’."
    ]  # fmt: skip
    shown = what_the_test_can_show(verdict, settings.alpha)
    return Paragraph(shown), Bullets((*others, *warnings, *MAY_DIFFER))
