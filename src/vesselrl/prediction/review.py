"""A page on which a person checks predicted masks, the least trustworthy first.

The page is one file without network access beside the folders ``review`` (the images), ``masks``
and ``errors``, whose pictures it loads when they are looked at. Its script and its style are
allowed by their hashes, nothing else is, and names of files are text wherever they appear: whatever
a file is called, the page does nothing with it.
"""

import math
from typing import TYPE_CHECKING, Any

from vesselrl.prediction.calibration import groups_needed
from vesselrl.report.language import LANGUAGE_TAGS, Language, mark, say, written_in
from vesselrl.report.render import templates, text_of
from vesselrl.report.words import counted

if TYPE_CHECKING:
    import pandas as pd

PAGE = "prediction/review.html.j2"
DIGITS = {
    "dice": 4, "dice_low": 4, "dice_high": 4, "recall": 4, "precision": 4, "out_of_distribution": 3,
    "seconds": 3,
}  # fmt: skip
"""Number of the quality table → to how many decimals the page has it."""
DECISION = ["prompt", "threshold", "operations"]
"""Columns of the quality table that few different rows fill: the page has each combination once."""
KEYS = {
    "j ↓ →": mark("next image"),
    "k ↑ ←": mark("previous image"),
    "g G": mark("first image, last image"),
    "a": mark("accept the mask and go on; again: remove the mark"),
    "d": mark("mark it as doubtful and go on; again: remove the mark"),
    "c": mark("contour of the mask"),
    "h": mark("errors that the reward network expects"),
    "z": mark("zoom"),
    "?": mark("this help"),
}


def render_review(
    quality: "pd.DataFrame",
    share: float,
    coverage: float,
    groups: int,
    labelme: str | None,
    language: Language,
) -> str:
    """Write the page.

    Args:
        quality: DataFrame with a row an image, in the order in which they are to be looked at:
            ``image`` (id), ``file``, ``width``, ``height``, ``dice``, ``dice_low``, ``dice_high``,
            ``recall``, ``precision``, ``out_of_distribution``, ``prompt``, ``threshold``,
            ``operations``, ``segmenter_calls``, ``seconds``, ``error`` (empty but where there is no
            mask).
        share: of the images, the first ones, which should be looked at; in [0, 1].
        coverage: of the interval of the predicted Dice, in (0, 1).
        groups: of the validation images, which promise that interval if they are enough.
        labelme: folder of the LabelMe files, relative to the page; None where there are none.
        language: of the page; names of prompts and errors stay as they are.

    Returns:
        HTML.
    """
    urgent = math.ceil(share * len(quality))
    environment = templates(autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    with written_in(language):
        return environment.get_template(PAGE).render(
            tag=LANGUAGE_TAGS[language],
            say=say,
            title=say("Review of predicted masks"),
            style=text_of("report/theme.css") + text_of("prediction/review.css"),
            script=text_of("prediction/review.js"),
            keys={key: say(meaning) for key, meaning in KEYS.items()},
            explanation=_explanation(urgent, coverage, groups >= groups_needed(coverage)),
            data={
                **_table(quality),
                "urgent": urgent,
                "labelme": labelme,
                "texts": _texts(len(quality), urgent, coverage),
            },
        )


def _table(quality: "pd.DataFrame") -> dict[str, Any]:
    """The rows as the script reads them: lists of values, numbers rounded, NaN as null."""
    named = quality[DECISION].astype(object).fillna("")
    columns = {name: quality[name].round(digits) for name, digits in DIGITS.items()}
    columns |= {
        name: quality[name] for name in ("image", "file", "width", "height", "segmenter_calls")
    }
    columns["error"] = quality["error"].fillna("")
    columns["decision"] = named.groupby(DECISION, sort=False).ngroup()
    plain = [column.astype(object).where(column.notna(), None) for column in columns.values()]
    return {
        "columns": list(columns),
        "rows": list(zip(*plain, strict=True)),
        "decisions": named.drop_duplicates().to_numpy().tolist(),
    }


def _explanation(urgent: int, coverage: float, promised: bool) -> list[str]:
    return [
        say(
            "The images stand in the order of their predicted Dice, the lowest first. Look at the "
            "first {urgent}, mark each, save the marks, and correct the doubtful masks in LabelMe.",
            urgent=f"{urgent:,}",
        ),
        say(
            "The interval is made to hold the true Dice with a probability of {percent} %, for "
            "images like those of validation.",
            percent=f"{100 * coverage:g}",
        )
        if promised
        else say(
            "There are too few validation patients to promise an interval for the true Dice, so it "
            "is 0 to 1."
        ),
        say(
            "Expected errors are yellow where the reward network gives them a small chance, red "
            "where it gives them a great one."
        ),
        say(
            "The distance from the training images is the share of validation images that are "
            "nearer to them. Close to 1, nothing that is predicted of an image deserves much trust."
        ),
        say(
            "Marks are kept in this browser, under the image and what was predicted of it: a mask "
            "that is made in another way has none."
        ),
    ]


def _texts(images: int, urgent: int, coverage: float) -> dict[str, Any]:
    """What the script says; it fills in what is left in braces."""
    return {
        "summary": say(
            "{images}. Of the {urgent} most doubtful, {checked} are checked; {accepted} accepted, "
            "{doubtful} doubtful.",
            images=counted(images, "image"),
            urgent=f"{urgent:,}",
            checked="{checked}",
            accepted="{accepted}",
            doubtful="{doubtful}",
        ),
        "nothing": say("No image is of this kind."),
        "missing": say("Its picture is not there: leave this page beside its folders."),
        "dice": say("Predicted Dice ({percent} % interval)", percent=f"{100 * coverage:g}"),
        "scores": say("Predicted recall · precision"),
        "out_of_distribution": say("Distance from the training images (0 to 1)"),
        "prompt": say("Prompt"),
        "cut": say("Threshold · operations"),
        "cost": say("Segmenter calls · seconds"),
        "file": say("File"),
        "labelme": say("To correct in LabelMe"),
        "no_labelme": say("not written; name labelme in predict.formats"),
        "accepted": say("accepted"),
        "doubtful": say("doubtful"),
        "filters": {
            "all": say("all images"),
            "urgent": say("the {urgent} most doubtful", urgent=f"{urgent:,}"),
            "unmarked": say("without a mark"),
            "doubtful": say("doubtful"),
            "accepted": say("accepted"),
            "failed": say("failed"),
        },
    }
