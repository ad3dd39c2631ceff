"""On images without labels: what the scores that are predicted there are worth."""

from collections.abc import Mapping
from typing import Any

from vesselrl.report.document import Block, Callout, Code, Paragraph, Section
from vesselrl.report.language import say, sentences
from vesselrl.report.words import NOTHING, counted, decimal, params_of_run


def new_images(check: Mapping[str, Any], quick: bool) -> Section:
    """How to segment new images, and how true predicted Dice and intervals are of test images.

    Args:
        check: see `vesselrl.prediction.trials.check`, and ``method``.
        quick: whether this was a quick run.
    """
    blocks: list[Block] = [
        Paragraph(
            say(
                "‘{method}’ segments images without labels by this command:", method=check["method"]
            )
        ),
        Code(
            f"kedro run --pipeline predict {params_of_run(quick)},{say('input_dir=<new images>')}"
        ),
    ]
    coverage = _percent(check["coverage"])
    if check["validation_groups"] < check["groups_needed"]:
        warning = say(
            "The validation images are of {groups}, and intervals that hold the Dice of {coverage} "
            "of new images need {needed}: each interval is 0 to 1.",
            groups=counted(check["validation_groups"], "group"),
            coverage=coverage,
            needed=check["groups_needed"],
        )
        blocks.append(Callout(warning, "warning"))
    if check["images"]:
        blocks.append(Paragraph(_measured(check, coverage)))
    return Section("new_images", say("On new images"), tuple(blocks))


def _measured(check: Mapping[str, Any], coverage: str) -> str:
    return sentences(
        say(
            "Every mask comes with a predicted Dice, and an interval that should hold the true one "
            "of {coverage} of all images.",
            coverage=coverage,
        ),
        say(
            "On {images} of {groups} it holds that of {covered}, {width} wide on average; the "
            "predicted Dice is off by {error}.",
            images=counted(check["images"], "test image"),
            groups=counted(check["groups"], "group"),
            covered=_percent(check["covered"]),
            width=decimal(check["width"]),
            error=decimal(check["mean_error"]),
        ),
        say(
            "It orders these images with a rank correlation of {correlation}; of the "
            "worst tenth, {found} are in the first fifth of the list that begins with the least "
            "predicted Dice.",
            correlation=NOTHING if check["spearman"] is None else decimal(check["spearman"], 2),
            found=_percent(check["worst_found"]),
        ),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
