import numpy as np
import pandas as pd
import pytest

from vesselrl.annotations.overview import draw_overview, kind_of_reason

REASONS = ["no such file in images/"] * 3 + [f"a duplicate: entry {i}" for i in range(2)]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def drawn(sides, reasons=(), mask=None):
    """The overview of samples, one for each letter: t(rain), v(al), e (test), u(nlabelled)."""
    names = {"t": "train", "v": "val", "e": "test", "u": "unlabelled"}
    ids = [f"s{i:02}" for i in range(len(sides))]
    samples = pd.DataFrame(
        {
            "id": ids,
            "group": [f"g{i // 2}" for i in range(len(ids))],
            "split": [names[side] for side in sides],
            "vessel_fraction": np.linspace(0, 0.2, len(ids)),
        }
    )
    labelled = samples["split"] != "unlabelled"
    samples["vessel_fraction"] = samples["vessel_fraction"].where(labelled)
    mask = np.eye(20, 30, dtype=bool) if mask is None else mask
    images = dict.fromkeys(ids, lambda: np.full((20, 30), 90, np.uint8))
    masks = dict.fromkeys(samples.loc[labelled, "id"], lambda: mask)
    quarantine = pd.DataFrame({"reason": list(reasons)}, dtype=object)
    figure = draw_overview(images, masks, samples, quarantine)
    figure.canvas.draw()
    return figure


def chart(figure, title):
    return next(axis for axis in figure.axes if axis.get_title(loc="left").startswith(title))


def test_sizes_of_splits_and_groups_are_shown():
    figure = drawn("tttttttvvee")
    assert texts(chart(figure, "Images, in groups")) == ["7\nin 4", "2\nin 2", "2\nin 2"]
    groups = chart(figure, "Images of a group")
    assert sum(bar.get_height() for bar in groups.patches) >= 6


def test_unlabelled_images_are_shown_and_counted_without_contours():
    figure = drawn("ttvveuuuuuuu")
    assert texts(chart(figure, "Images, in groups"))[-1] == "7\nin 4"
    sheet = [axis for axis in figure.axes if axis.get_title().startswith("s")]
    assert [len(axis.collections) for axis in sheet] == [1] * 5 + [0] * 6


def test_refusals_are_counted_by_reason_and_drawn_only_if_there_are_any():
    assert not any("Refused" in axis.get_title(loc="left") for axis in drawn("tve").axes)
    axis = chart(drawn("tve", REASONS), "Refused entries: 5")
    assert texts(axis) == ["3", "2", "no such file in images/", "a duplicate"]


def test_rare_reasons_are_summed_up():
    axis = chart(drawn("tve", [f"reason {letter}" for letter in "abcdefgh"]), "Refused entries: 8")
    assert texts(axis)[5::6] == ["3", "other reasons"]


@pytest.mark.parametrize("sides", ["t", "tt", "e", "tv", "tu", "tvetvetvetvetvetvetvetve"])
def test_any_split_may_be_small_or_empty(sides):
    shown = [axis for axis in drawn(sides).axes if axis.get_title().startswith("s")]
    assert len(shown) == sum(min(6, sides.count(side)) for side in "tveu")


@pytest.mark.parametrize("value", [True, False])
def test_full_and_empty_masks_can_be_drawn(value):
    drawn("tve", mask=np.full((20, 30), value))


@pytest.mark.parametrize("reason", ["3", "", "(", "polygon 3"])
def test_any_reason_has_a_kind(reason):
    assert isinstance(kind_of_reason(reason), str)
