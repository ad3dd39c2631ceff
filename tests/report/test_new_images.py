"""The section on images without labels."""

import pytest

from vesselrl.report.document import Callout, Code, Paragraph
from vesselrl.report.new_images import new_images

CHECK = {
    "method": "static", "coverage": 0.9, "validation_groups": 15, "groups_needed": 9, "images": 21,
    "groups": 17, "covered": 0.952, "width": 0.1874, "mean_error": 0.0361, "spearman": 0.456,
    "worst_found": 0.5,
}  # fmt: skip


def texts(check, kind):
    return [block.text for block in new_images(check, quick=True).blocks if isinstance(block, kind)]


def test_what_was_promised_stands_beside_what_was_kept():
    said = " ".join(texts(CHECK, Paragraph))
    assert "‘static’" in said
    assert "the true one of 90 % of all images" in said
    assert "On 21 test images of 17 groups it holds that of 95 %, 0.187 wide on average" in said
    assert "off by 0.036" in said
    assert "rank correlation of 0.46" in said
    assert "50 % are in the first fifth" in said
    assert not texts(CHECK, Callout)
    (command,) = texts(CHECK, Code)
    assert command == (
        "kedro run --pipeline predict --params raw_dir=<images and annotations>,"
        "out_dir=<results>,quick:true,input_dir=<new images>"
    )


def test_too_few_patients_are_a_warning():
    (warning,) = texts(CHECK | {"validation_groups": 3}, Callout)
    assert "of 3 groups" in warning
    assert "need 9" in warning


@pytest.mark.parametrize("check", [CHECK | {"spearman": None}, CHECK | {"images": 0}])
def test_what_cannot_be_told_is_not_told(check):
    said = " ".join(texts(check, Paragraph))
    assert "None" not in said
    assert ("rank correlation" in said) == (check["images"] > 0)
