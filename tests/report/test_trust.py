"""The section on the reward network."""

from typing import Any

import pytest

from vesselrl.report.document import Callout, Picture, Section, Table
from vesselrl.report.trust import REWARD_MEASURES, reward_network

PICTURES = (b"card", b"maps", b"hacks")


def part(tau: float, **more: float | None) -> dict[str, Any]:
    return {
        "within_image_tau": tau, "top1_regret": 0.02, "pooled_r": 0.8, "mae": 0.05, "n_images": 9,
        **more,
    }  # fmt: skip


def hack(name: str, right: bool, **more: Any) -> dict[str, Any]:
    return {
        "hack": name, "predicted_difference": -0.1234, "true_difference": -0.2, "share": 0.875,
        "images": 8, "right": right, "dice_share": 0.5, **more,
    }  # fmt: skip


def card(**more: Any) -> dict[str, Any]:
    return {
        "val": part(0.6, objective_tau=0.7),
        "test": part(0.5),
        "unseen": part(0.4, disagreement_r=None),
        "rivals": {
            "confidence": {"val": part(0.1), "test": part(0.2)},
            "agreement": {"val": part(0.3), "test": part(0.4)},
        },
        "hacks": {
            "val": [
                hack("empty", True),
                hack("dilated_truth", False),
                hack(
                    "ascent", True, predicted_difference=None, share=None, images=0, dice_share=None
                ),
            ],
            "test": [hack("empty", True, share=0.5, images=4)],
        },
        "fit": False,
        "reason": "It is deceived by dilated truth.",
        **more,
    }


def section(**more: Any) -> Section:
    return reward_network(card(**more), *PICTURES)


def tables(found: Section) -> list[Table]:
    return [block for block in found.blocks if isinstance(block, Table)]


@pytest.mark.parametrize(("fit", "words"), [(True, "is fit to"), (False, "is not fit to")])
def test_the_verdict_and_its_reason_come_first(fit: bool, words: str) -> None:
    verdict = section(fit=fit).blocks[0]
    assert isinstance(verdict, Callout)
    assert words in verdict.text
    assert "deceived by dilated truth" in verdict.text
    assert verdict.tone == ("note" if fit else "warning")


def test_every_measure_has_a_row_and_every_set_of_images_a_column() -> None:
    measures, *_ = tables(section())
    rows = {row[0]: row[1:] for row in measures.rows}
    assert list(rows) == list(REWARD_MEASURES.values())
    assert rows[REWARD_MEASURES["objective_tau"]] == ("0.700", "–", "–")
    assert rows[REWARD_MEASURES["within_image_tau"]] == ("0.600", "0.500", "0.400")
    assert rows[REWARD_MEASURES["disagreement_r"]] == ("–", "–", "–")
    assert rows["Images"] == ("9", "9", "9")


def test_the_network_heads_its_rivals_and_they_come_in_order_of_merit() -> None:
    _, rivals, _ = tables(section())
    assert rivals.rows == (
        ("reward network", "0.500", "0.020", "0.800", "0.050"),
        ("agreement of the prompts", "0.400", "0.020", "0.800", "0.050"),
        ("the segmenter's confidence", "0.200", "0.020", "0.800", "0.050"),
    )
    assert rivals.marked_row == 0
    assert rivals.note.startswith("On test images")


def test_rivals_that_order_masks_better_are_named() -> None:
    def warnings(found: Section) -> list[str]:
        return [block.text for block in found.blocks if isinstance(block, Callout)][1:]

    assert warnings(section()) == []
    (warning,) = warnings(section(test=part(0.3)))
    assert warning.endswith("than the reward network: agreement of the prompts.")


def test_without_test_images_rivals_are_compared_on_validation_images() -> None:
    none = {"n_images": 0}
    rivals = {name: {**parts, "test": none} for name, parts in card()["rivals"].items()}
    hacks = {"val": card()["hacks"]["val"]}
    measures, judges, tried = tables(section(test=none, unseen=none, rivals=rivals, hacks=hacks))
    assert [row[1] for row in judges.rows] == ["0.600", "0.300", "0.100"]
    assert judges.note.startswith("On validation images")
    assert measures.rows[-1] == ("Images", "9", "0", "0")
    assert {row[5] for row in tried.rows} == {"–"}


def test_hacks_are_told_in_words_with_what_they_gain_and_how_often_they_are_ranked_right() -> None:
    *_, hacks = tables(section())
    assert hacks.rows == (
        ("nothing is vessel", "default mask", "−12.3", "−20.0", "7 of 8", "2 of 4", "yes", "50%"),
        ("truth, too thick", "truth", "−12.3", "−20.0", "7 of 8", "–", "no", "50%"),
        ("gradient ascent of the reward", "default mask", "–", "−20.0", "–", "–", "yes", "–"),
    )


def test_the_pictures_are_there_and_photographs_are_marked() -> None:
    pictures = [block for block in section().blocks if isinstance(block, Picture)]
    assert {picture.file: (picture.png, picture.photographs) for picture in pictures} == {
        "reward_net_report.png": (b"card", False),
        "reward_hacks.png": (b"hacks", False),
        "reward_error_maps.png": (b"maps", True),
    }


def test_without_a_report_card_the_section_says_so() -> None:
    (only,) = reward_network({}, *PICTURES).blocks
    assert "no report card" in getattr(only, "text", "")
