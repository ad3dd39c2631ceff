"""What the report says of RL on the segmenter's weights."""

import pytest

from vesselrl.report.document import Callout, Picture, Table
from vesselrl.report.language import written_in
from vesselrl.report.pixel import pixel_rl

SCORES = {"within_image_tau": 0.61, "top1_regret": 0.02, "mae": 0.07, "n_images": 12}
PICTURES = (b"curves", b"dice", b"gallery")


def facts(**changes):
    return {
        "start": "distilled", "steps": 150, "kept_step": 60, "ended": "all steps", "seconds": 90.0,
        "gained": 0.012, "gold_best": 0.79, "gold_last": 0.76, "proxy_at_best": 0.80,
        "proxy_last": 0.84, "overoptimised": False, "unlabelled_images": 81,
        "reward": {"paid_by": "both", **dict.fromkeys(("network", "ensemble", "both"), SCORES)},
    } | changes  # fmt: skip


def blocks_of(kind, infos):
    (section,) = pixel_rl(infos, *PICTURES)
    return [block for block in section.blocks if isinstance(block, kind)]


def test_nothing_is_said_of_what_was_not_run() -> None:
    assert pixel_rl({}, b"", b"", b"") == ()


def test_every_seed_has_its_row_with_what_it_gained() -> None:
    runs, payers = blocks_of(Table, {7: facts(), 8: facts(gained=-0.001, kept_step=0)})
    assert [row[0] for row in runs.rows] == ["7", "8"]
    assert runs.rows[0][1:6] == ("150", "60", "0.778", "0.790", "+1.2")
    assert len(payers.rows) == 3
    assert payers.marked_row == 2  # both


def test_a_network_that_pleased_the_reward_alone_is_called_out() -> None:
    (warning,) = blocks_of(Callout, {7: facts(), 8: facts(overoptimised=True)})
    assert "Seed 8" in warning.text
    assert "fell from 0.790 to 0.760" in warning.text


def test_without_validation_images_numbers_are_dashes() -> None:
    unknown = {"gained": None, "gold_best": None, "overoptimised": None}
    nobody = {source: {"n_images": 0} for source in ("network", "ensemble", "both")}
    (runs,) = blocks_of(Table, {7: facts(**unknown, reward={"paid_by": "network", **nobody})})
    assert runs.rows[0][3:6] == ("–", "–", "–")


@pytest.mark.parametrize(("unlabelled", "said"), [(81, "81 images"), (0, "training images")])
def test_what_it_learned_on_is_said(unlabelled, said) -> None:
    (section,) = pixel_rl({7: facts(unlabelled_images=unlabelled)}, *PICTURES)
    assert said in section.blocks[0].text


def test_photographs_keep_their_greys_on_a_dark_screen() -> None:
    assert [picture.photographs for picture in blocks_of(Picture, {7: facts()})] == [
        False,
        False,
        True,
    ]


def test_in_chinese_why_a_training_ended_is_chinese_too() -> None:
    ended = "no better validation score for 4 looks"
    with written_in("zh"):
        runs, _ = blocks_of(Table, {7: facts(ended=ended)})
    assert "连续 4 次" in runs.note
