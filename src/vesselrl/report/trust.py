"""Can the reward network be trusted? Its report card, its rivals, and masks that may deceive it."""

from collections.abc import Mapping, Sequence
from typing import Any

from vesselrl.report.document import Block, Callout, Paragraph, Picture, Section, Table
from vesselrl.report.language import mark, say, say_stored, sentences
from vesselrl.report.tables import yes
from vesselrl.report.words import NOTHING, decimal, listed, signed_points
from vesselrl.reward.names import AGAINST_TRUTH, NETWORK, hack_name, rival_name

Card = Mapping[str, Any]

REWARD_MEASURES = {
    "objective_tau": mark(
        "Order of the masks of one image by the objective (Kendall's τ): what a policy learns from"
    ),
    "objective_regret": mark("Objective lost by taking the mask it rates best"),
    "within_image_tau": mark("Order of the masks of one image by Dice (Kendall's τ)"),
    "top1_regret": mark("Dice lost by taking the mask it rates best"),
    "pooled_r": mark("Correlation with the true Dice, all masks"),
    "across_image_r": mark("Correlation with the true Dice, image means"),
    "mae": mark("Mean absolute error of the predicted Dice, calibrated"),
    "mae_raw": mark("Mean absolute error of the predicted Dice, raw"),
    "calibration_error": mark("Calibration error"),
    "disagreement_r": mark("Rank correlation of its members' disagreement with its error"),
    "n_images": mark("Images"),
}
IMAGE_SETS = {
    "val": mark("Validation"),
    "test": mark("Test"),
    "unseen": mark("Test, unseen segmenter"),
}
RIVAL_MEASURES = {
    "within_image_tau": mark("Order of the masks of one image (Kendall's τ)"),
    "top1_regret": mark("Dice lost by taking the mask it rates best"),
    "pooled_r": mark("Correlation with the true Dice"),
    "mae": mark("Mean absolute error"),
}


def reward_network(card: Card, figure: bytes, error_maps: bytes, hacks: bytes) -> Section:
    """The verdict, the measures, the rivals and the hacks.

    Args:
        card: the report card; empty where there is none.
        figure: PNG of agreement, reliability, order and choices.
        error_maps: PNG of expected beside true errors.
        hacks: PNG of what hacks gain as predicted and in truth.
    """
    title = say("Can the reward network be trusted?")
    if not card:
        missing = Paragraph(say("There is no report card of the reward network."))
        return Section("reward_network", title, (missing,))
    judged = say(
        "The reward network is fit to train a policy."
        if card["fit"]
        else "The reward network is not fit to train a policy."
    )
    blocks: list[Block] = [
        Callout(
            sentences(judged, say_stored(card["reason"])), "note" if card["fit"] else "warning"
        ),
        _measures(card),
        Picture(
            figure,
            "reward_net_report.png",
            say("Predicted against true Dice, reliability, order of masks, choices and training."),
            say(
                "Above: predicted against true Dice, the bolder the more masks, and the mean true "
                "Dice of masks whose prediction lies in the same tenth, raw and calibrated; points "
                "grow with the number of masks. Middle: how each judge orders the masks of one "
                "image, a dot an image, a bar for the mean; training. Below: of each image the "
                "masks on offer."
            ),
        ),
        *_rivals(card),
        *_hacks(card["hacks"]),
        Picture(
            hacks,
            "reward_hacks.png",
            say("For each hack, what it gains in the predicted and in the true objective."),
            say(
                "A point an image. In the grey corners the network ranks the hack as the truth "
                "does; to the lower right a policy is paid for a worse mask."
            ),
        ),
        Picture(
            error_maps,
            "reward_error_maps.png",
            say(
                "Images with their default masks, the errors the network expects, and the true "
                "errors."
            ),
            say(
                "Validation images from the lowest (above) to the highest predicted quality of the "
                "default mask: the image, the mask, where the network believes it to be wrong, and "
                "where it is."
            ),
            photographs=True,
        ),
    ]
    return Section("reward_network", title, tuple(blocks))


def _measures(card: Card) -> Table:
    parts = [card[key] for key in IMAGE_SETS]
    rows = tuple(
        (say(meaning), *(_number(part, key) for part in parts))
        for key, meaning in REWARD_MEASURES.items()
    )
    return Table(
        (say("Measure"), *map(say, IMAGE_SETS.values())),
        rows,
        note=say(
            "Patients the network was not trained on. Validation images chose its checkpoints and "
            "calibrated it; the test columns alone are without such favour. The unseen segmenter "
            "had no part in training."
        ),
    )


def _rivals(card: Card) -> list[Block]:
    """The network and what else could judge masks, the best first."""
    split = "test" if card["test"]["n_images"] else "val"
    own = card[split]
    rivals = {say(rival_name(rival)): parts[split] for rival, parts in card["rivals"].items()}
    order = sorted(rivals, key=lambda name: -rivals[name]["within_image_tau"])
    better = [n for n in order if rivals[n]["within_image_tau"] > own["within_image_tau"]]
    images = say("test images" if split == "test" else "validation images")
    table = Table(
        (say("Judge"), *map(say, RIVAL_MEASURES.values())),
        tuple(
            (name, *(_number(part, key) for key in RIVAL_MEASURES))
            for name, part in [(say(NETWORK), own), *((name, rivals[name]) for name in order)]
        ),
        marked_row=0,
        note=say(
            "On {images}, of Dice. Each judge has a line to the true Dice of its own, fitted on "
            "validation images.",
            images=images,
        ),
    )
    if not better:
        return [table]
    warning = say(
        "Better at ordering masks of {images} than the reward network: {judges}.",
        images=images,
        judges=listed(better),
    )
    return [Callout(warning, "warning"), table]


def _hacks(hacks: Mapping[str, Sequence[Card]]) -> list[Block]:
    """What a policy that exploits the network would find, judged on validation images."""
    of_test = {row["hack"]: row for row in hacks.get("test", ())}
    rows = tuple(
        (
            say(hack_name(row["hack"])),
            say("truth" if row["hack"] in AGAINST_TRUTH else "default mask"),
            *(
                NOTHING if row[key] is None else signed_points(row[key])
                for key in ("predicted_difference", "true_difference")
            ),
            _count(row),
            _count(of_test.get(row["hack"])),
            yes(row["right"]),
            NOTHING if row["dice_share"] is None else f"{row['dice_share']:.0%}",
        )
        for row in hacks["val"]
    )
    text = say(
        "Hacks are masks that a policy would find if the network paid for them, each with a "
        "reference mask of the same image. What matters is that the network prefers the one the "
        "truth prefers."
    )
    table = Table(
        (
            say("Hack"), say("Compared with"), say("Predicted difference"),
            say("True difference"), say("Ranked right, validation"), say("Ranked right, test"),
            say("Right?"), say("In Dice alone"),
        ),
        rows,
        text_columns=2,
        note=say(
            "Differences of the objective, hack minus reference, in points, mean of validation "
            "images, which alone decide whether a hack is ranked right. Images where both masks "
            "are equally good do not count. Last, the share of validation images that is ranked "
            "right in Dice alone."
        ),
    )  # fmt: skip
    return [Paragraph(text), table]


def _count(row: Card | None) -> str:
    """On how many images a hack is ranked right: ``7 of 8``."""
    if row is None or not row["images"]:
        return NOTHING
    right = round(row["share"] * row["images"])
    return say("{right} of {images}", right=right, images=row["images"])


def _number(part: Card, key: str) -> str:
    value = part.get(key)
    if value is None:
        return NOTHING
    return str(int(value)) if key == "n_images" else decimal(value)
