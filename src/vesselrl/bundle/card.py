"""The model card of a bundle.

Mitchell et al., "Model cards for model reporting", FAT* 2019, arXiv:1810.03993. It has counts and
scores; no name of an image, a patient or a group.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vesselrl.errors import VesselrlError
from vesselrl.prediction.recipe import Recipe
from vesselrl.report.document import (
    Block,
    Bullets,
    Callout,
    Code,
    Document,
    Paragraph,
    Section,
    Table,
)
from vesselrl.report.explanations import explanation
from vesselrl.report.limits import what_the_segmenter_saw, what_the_test_can_show
from vesselrl.report.parameters import ReportParameters
from vesselrl.report.render import render_markdown
from vesselrl.report.tables import footnote, marked_name
from vesselrl.report.words import (
    NOTHING,
    counted,
    decimal,
    objective_name,
    points_interval,
    signed_points,
    significant,
    with_interval,
)

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


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Attributes:
        recipe: of the method.
        check: how true its predicted Dice is, see `vesselrl.prediction.trials.check`.
        samples: columns split and group.
        leaking: groups of validation and test that the segmenter is known to have learned from.
        leaderboard: see `vesselrl.report.comparison.leaderboard`.
        verdict: see `vesselrl.report.verdict.verdict`.
        trained: experiment or regressor → its settings, see
            `vesselrl.report.explanations.explanation`.
        settings: objective and statistics.
    """

    recipe: Recipe
    check: Mapping[str, Any]
    samples: pd.DataFrame
    leaking: int
    leaderboard: pd.DataFrame
    verdict: Mapping[str, Any]
    trained: Mapping[str, Mapping[str, Any]]
    settings: ReportParameters


def model_card(facts: Facts, files: Collection[str], licence: str) -> str:
    """The card as Markdown.

    Args:
        facts: about the method.
        files: names of the bundle's other files.
        licence: under which the bundle is handed on.

    Raises:
        VesselrlError: the method is not in the leaderboard.
    """
    recipe = facts.recipe
    if recipe.name not in set(facts.leaderboard["method"]):
        raise VesselrlError(
            f"The method ‘{recipe.name}’ has no scores on the test images, which a model card "
            "gives: run kedro run --pipeline evaluation, or bundle another method."
        )
    specification = recipe.method.model_dump(mode="json", exclude_none=True)
    names = [name for name in FILES if any(file.startswith(name) for file in files)]
    document = Document(
        title=f"Vessel segmentation: {recipe.name}",
        subtitle=explanation(recipe.method.kind, specification, facts.trained),
        sections=(
            Section("use", "How to use it", (Code(USE, "With vesselrl, without Kedro:"),)),
            Section("intended", "Intended use", (Callout(INTENDED_USE, "warning"),)),
            Section("data", "Data", _data(facts.samples)),
            Section("scores", "Scores on the test images", _scores(facts)),
            Section("compared", "What it was compared with", _compared(facts)),
            Section("limits", "Limits", _limits(facts)),
            Section("files", "Files", (Bullets(tuple(f"{n}: {FILES[n]}" for n in names)),)),
            Section("licence", "Licence", (Paragraph(licence),)),
        ),
    )
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
    return Paragraph(text), Table(("Split", "Images", "Groups"), rows)


def _scores(facts: Facts) -> tuple[Block, ...]:
    board = facts.leaderboard
    (row,) = board[board["method"] == facts.recipe.name].to_dict("records")
    names = {
        "objective": objective_name(facts.settings.objective),
        "dice": "Dice",
        "recall": "recall",
    }
    rows = [
        (name, with_interval(row[score], row[f"{score}_low"], row[f"{score}_high"]))
        for score, name in names.items()
    ]
    plain = {"precision": "precision", "iou": "IoU", "cldice": "clDice"}
    rows += [(name, decimal(row[score])) for score, name in plain.items()]
    rows += [
        ("segmenter calls an image", significant(row["segmenter_calls"])),
        ("seconds an image, where it was measured", significant(row["seconds"])),
    ]
    note = (
        f"{counted(int(row['images']), 'image')} of {counted(int(row['groups']), 'group')}; in "
        f"brackets the {100 * (1 - facts.settings.alpha):g} % confidence interval, which resamples "
        "groups."
    )
    if (seeds := int(row["seeds"])) > 1:
        note += f" Mean of {seeds} trainings; the bundle holds the first."
    return Table(("Score", "Value"), tuple(rows), note=note), Paragraph(_foretold(facts.check))


def _foretold(check: Mapping[str, Any]) -> str:
    """How true predicted Dice and intervals are."""
    text = (
        "With every mask come the Dice it probably has and an interval that should hold the true "
        f"one in {100 * check['coverage']:g} % of images, learned from "
        f"{counted(check['validation_groups'], 'group')} of validation images."
    )
    if check["validation_groups"] < check["groups_needed"]:
        text += f" That takes {check['groups_needed']} groups: every interval is 0 to 1."
    if check["covered"] is not None:
        text += (
            f" On the test images it did in {100 * check['covered']:.0f} %, its mean width was "
            f"{decimal(check['width'])}; the predicted Dice was wrong by "
            f"{decimal(check['mean_error'])} on average."
        )
    return text


def _compared(facts: Facts) -> tuple[Block, ...]:
    board, settings = facts.leaderboard, facts.settings
    rows = tuple(
        (
            marked_name(row),
            decimal(row["objective"]),
            decimal(row["dice"]),
            decimal(row["recall"]),
            NOTHING
            if row["method"] == settings.baseline
            else f"{signed_points(row['difference'])} "
            f"({points_interval(row['difference_low'], row['difference_high'])})",
        )
        for row in board.to_dict("records")
    )
    header = ("Method", "Objective", "Dice", "Recall", f"Dice against ‘{settings.baseline}’")
    table = Table(header, rows, note=footnote(board, settings))
    return table, Paragraph(facts.verdict["sentence"])


def _limits(facts: Facts) -> tuple[Block, ...]:
    name, verdict = facts.recipe.name, facts.verdict
    told = [text for method, text in verdict["warnings"].items() if method == name]
    if verdict["recommended"] != name:
        told.append(f"The report recommends another method, ‘{verdict['recommended']}’.")
    blocks: list[Block] = [Paragraph(what_the_test_can_show(verdict))]
    if facts.leaking:
        blocks.append(Callout(what_the_segmenter_saw(facts.leaking), "warning"))
    return *blocks, Bullets((*told, *MAY_DIFFER))
