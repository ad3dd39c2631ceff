"""What the pictures of the reward network show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from vesselrl.datasets.figure import FigureDataset
from vesselrl.reward.error_maps import WRONG, draw_error_maps, evenly_spread
from vesselrl.reward.example_figure import draw_examples
from vesselrl.reward.figures import draw_report_card, reliability
from vesselrl.reward.hack_figure import draw_hacks
from vesselrl.reward.qualities import BINS, THRESHOLDS, Qualities, quantiles
from vesselrl.reward.report_card import report_card, rival_cards
from vesselrl.reward.scenes import Scene
from vesselrl.reward.scoring import Scoring
from vesselrl.segmenters.levels import to_levels

HISTORY = pd.DataFrame(
    {"member": [0, 0, 1], "iteration": [5, 10, 5], "loss": [3, 2, 3.5], "tau": [0, 0.5, 0.1]}
)
SIDE = 20


def scores(count, seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        true = rng.uniform(0.2, 0.9, 40)
        noisy = np.clip(true + rng.normal(0, 0.1, 40), 0, 1)
        images.append(
            {
                "true_dice": true,
                "predicted_dice": noisy,
                "raw_dice": noisy - 0.1,
                "disagreement": rng.random(40),
                "rival_confidence": rng.random(40),
                "rival_agreement": true + rng.random(40),
            }
        )
    return images


def card_figure(val, test):
    val, test = ([lambda image=one: image for one in images] for images in (val, test))
    card = {
        "val": report_card(val, ["dice"]),
        "test": report_card(test, ["dice"]),
        "rivals": rival_cards(val, test),
    }
    return draw_report_card({"val": val, "test": test}, card, HISTORY)


def png(figure, folder, name="figure"):
    """The bytes of a figure as the catalog keeps it."""
    file = FigureDataset(filepath=str(folder / f"{name}.png"), dots_per_inch=50)
    file.save(figure)
    return file.load()


def texts(figure):
    parts = [text.get_text() for ax in figure.axes for text in ax.texts]
    titles = [ax.get_title(loc=loc) for ax in figure.axes for loc in ("left", "center")]
    return " ".join(parts + titles)


@pytest.mark.parametrize("counts", [(6, 4), (1, 0), (80, 90)])
def test_the_card_is_drawn_for_any_number_of_images(tmp_path, counts):
    figure = card_figure(scores(counts[0], 0), scores(counts[1], 1))
    assert len(png(figure, tmp_path)) > 5000
    assert f"{40 * counts[0]:,} masks" in texts(figure)
    assert ("no test images" in texts(figure)) == (counts[1] == 0)


def test_the_same_scores_give_the_same_picture(tmp_path):
    first, second = (png(card_figure(scores(5, 0), scores(5, 1)), tmp_path, n) for n in "ab")
    assert first == second


def test_the_network_stands_above_its_rivals_and_they_in_order_of_merit():
    figure = card_figure(scores(6, 0), scores(4, 1))
    (axis,) = [a for a in figure.axes if a.get_title(loc="left") == "Order of masks, validation"]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "reward network",
        "agreement of the prompts",
        "the segmenter's confidence",
    ]


def test_of_many_images_some_are_drawn_and_all_are_told_of(monkeypatch):
    monkeypatch.setattr("vesselrl.reward.figures.DRAWN", 4)
    figure = card_figure(scores(9, 0), scores(3, 1))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert any("360 masks,\n9 images,\n3 drawn" in text for text in texts)
    assert any(text.endswith("120 masks,\n3 images") for text in texts)


def test_reliability_is_the_mean_truth_of_what_is_predicted_alike():
    predicted = np.array([0.11, 0.15, 0.72, -0.2, 1.3])
    true = np.array([0.2, 0.4, 0.6, 0.1, 0.9])
    assert reliability(predicted, true) == pytest.approx(
        np.array([[-0.2, 0.1, 0.2], [0.13, 0.3, 0.4], [0.72, 0.6, 0.2], [1.3, 0.9, 0.2]])
    )


def test_images_are_spread_from_the_worst_to_the_best():
    qualities = dict(zip("gfedcba", (0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), strict=True))
    assert evenly_spread(qualities) == ["a", "c", "e", "g"]
    assert evenly_spread({"b": 0.9, "a": 0.1}) == ["a", "b"]


def scene(hidden, shape=(SIDE, SIDE)):
    """A scene whose truth is the upper half; the default mask misses some columns of it and marks
    one row too many; the network knows the truth.
    """
    truth = np.zeros(shape, bool)
    truth[: shape[0] // 2] = True
    answer = truth.copy()
    answer[shape[0] // 2] = True
    answer[:, :hidden] = False
    return Scene(
        image=np.full((*shape, 3), 90, np.uint8),
        probabilities=np.stack([np.zeros(shape), answer]).astype(np.float32),
        truth=truth,
        scoring=Scoring("min", kappa=0),
        opinions=truth[None].astype(np.float32),
    )


def test_error_maps_show_what_is_expected_beside_what_is_true(tmp_path):
    scenes = {"half": scene(10), "$all_x$": scene(0), "none": scene(19, (SIDE, 2 * SIDE))}
    figure = draw_error_maps(scenes.__getitem__, list(scenes), default_prompt=1)
    rows = np.reshape(figure.axes[:12], (3, 4))
    shown = [row[0].get_title(loc="left") for row in rows]
    assert shown == ["half", "none", "$all_x$"]
    for (_, _, expected, true), name in zip(rows, shown, strict=True):
        mask, truth = default(scenes[name])[0], scenes[name].truth
        np.testing.assert_array_equal(expected.images[0].get_array(), mask ^ truth)
        layers = [np.asarray(image.get_array()) for image in true.images[1:]]
        for layer, part, colour in zip(
            layers, (mask & ~truth, truth & ~mask), WRONG.values(), strict=True
        ):
            np.testing.assert_array_equal(layer[..., 3] > 0, part)
            assert (layer[part] == to_rgba(colour)).all()
    assert len(png(figure, tmp_path)) > 5000


def test_a_long_name_does_not_run_into_the_next_picture():
    figure = draw_error_maps({"n" * 90: scene(5)}.__getitem__, ["n" * 90], default_prompt=1)
    assert figure.axes[0].get_title(loc="left") == f"{'n' * 35}…"


def default(scene):
    return scene.probabilities[1:] > 0.5


def hack_table(**hacks):
    """Hack → rows of split, predicted and true difference."""
    rows = [
        (split, hack, predicted, 0.5, true, 0.5, True)
        for hack, differences in hacks.items()
        for split, predicted, true in (
            (split, 0.5 + predicted, 0.5 + true) for split, predicted, true in differences
        )
    ]
    columns = [
        "split", "hack", "predicted", "predicted_reference", "true", "true_reference", "dice_right",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def test_each_hack_has_a_panel_that_says_how_often_it_is_ranked_right(tmp_path):
    table = hack_table(
        empty=[("val", -0.3, -0.4), ("val", 0.1, -0.4), ("val", 0.1, 0.001), ("test", -0.1, -0.1)],
        dilated_truth=[("val", 0.2, -0.1)],
        a_new_one=[("test", 0.0, 0.0)],
    )
    figure = draw_hacks(table)
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["Nothing is vessel", "Truth, too thick", "A new one"]
    facts = [ax.texts[0].get_text() for ax in panels.values()]
    assert facts == [
        "against the default mask\nright: validation 1 of 2, test 1 of 1",
        "against the truth\nright: validation 0 of 1",
        "against the default mask\nright: test 0 of 0",
    ]
    x, y = panels["Truth, too thick"].lines[0].get_data()
    assert (x[0], y[0]) == pytest.approx((0.2, -0.1))
    assert len(png(figure, tmp_path)) > 5000


def example(*sources):
    """A truth of the left half; each map is certain, right for ``""`` and otherwise empty."""
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[:, : SIDE // 2] = 255
    maps = [truth / 255 if source == "" else np.zeros(truth.shape) for source in sources]
    return {
        "image": np.zeros_like(truth),
        "truth": truth,
        "maps": to_levels(np.stack(maps)),
        "sources": np.array(sources),
    }


def test_qualities_count_masks_by_dice_and_kind():
    counted = Qualities.of([lambda: example("", "shifted+leakage"), lambda: example("", "leakage")])
    assert counted.images == 2
    assert (counted.own[:, -1] == 2).all()
    assert counted.own.sum() == 2 * len(THRESHOLDS)
    assert counted.corrupted[0, 0] == counted.corrupted.sum() == 2 * len(THRESHOLDS)
    assert {name: int(c.sum()) for name, c in counted.by_corruption.items()} == {
        "shifted": len(THRESHOLDS),
        "leakage": 2 * len(THRESHOLDS),
    }


def test_either_kind_of_mask_weighs_as_much_as_training_draws_it():
    both = Qualities.of([lambda: example("", "", "", "leakage")]).shares
    assert both[:-1].sum() == pytest.approx(0.5)
    assert both[-1].sum() == pytest.approx(0.5)
    assert Qualities.of([lambda: example("")]).shares.sum() == pytest.approx(1)
    assert Qualities.of([]).shares.sum() == 0


def test_quantiles_are_read_off_the_counts():
    counts = np.zeros(BINS, np.int64)
    counts[[10, 50, 90]] = 10, 80, 10
    assert quantiles(counts) == pytest.approx([0.105, 0.505, 0.505, 0.505, 0.905])


def test_examples_are_held_one_at_a_time():
    alive, most = 0, 0

    class Held(dict):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def load():
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return Held(example("", "leakage"))

    Qualities.of([load] * 5)
    assert most <= 2


@pytest.mark.parametrize("sources", [("", "leakage"), ("",)])
def test_the_examples_are_drawn_with_and_without_corruptions(tmp_path, sources):
    figure = draw_examples({"train": [lambda: example(*sources)] * 3, "val": []})
    count = 3 * len(sources) * len(THRESHOLDS)
    assert f"{count} masks of 3 training images" in texts(figure)
    assert "0 masks of 0 validation images" in texts(figure)
    assert len(png(figure, tmp_path)) > 3000
