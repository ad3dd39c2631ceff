"""What the figures show."""

import numpy as np
import pandas as pd
import pytest

from vesselrl.report.curves import draw_learning_curves
from vesselrl.report.gallery import draw_gallery, gallery_images


def scores_of(dice: dict[str, float]) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([["a", "b"], dice], names=["method", "image"])
    values = [*dice.values()] * 2
    return pd.DataFrame({"dice": values, "recall": values}, index=index)


def test_gallery_shows_best_median_and_worst() -> None:
    scores = scores_of({"u": 0.5, "v": 0.9, "w": 0.1, "x": 0.6, "y": 0.4})
    assert gallery_images(scores, "a") == {"best": "v", "median": "u", "worst": "w"}


def test_gallery_of_one_image_shows_it_once() -> None:
    assert gallery_images(scores_of({"u": 0.5}), "a") == {"best": "u"}


def test_gallery_colours_found_invented_and_missed_pixels() -> None:
    truth, found = np.zeros((2, 2), bool), np.zeros((2, 2), bool)
    truth[0] = found[:, 0] = True
    predictions = {f"{method}/masks/u": lambda: found for method in "ab"}
    figure = draw_gallery(
        {"u": lambda: np.zeros((2, 2, 3), np.uint8)},
        {"u": lambda: truth},
        predictions,
        scores_of({"u": 0.5}),
        ["a", "b"],
    )
    layers = [np.asarray(image.get_array())[..., 3] > 0 for image in figure.axes[1].images[1:]]
    assert [layer.tolist() for layer in layers] == [
        [[True, False], [False, False]],
        [[False, False], [True, False]],
        [[False, True], [False, False]],
    ]


def test_gallery_lays_its_colours_over_the_green_channel_of_a_colour_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    nothing = np.zeros((2, 2), bool)
    figure = draw_gallery(
        {"u": lambda: image},
        {"u": lambda: nothing},
        {"a/masks/u": lambda: nothing},
        scores_of({"u": 0.5}),
        ["a"],
    )
    grounds = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    np.testing.assert_array_equal(grounds[0], image)
    np.testing.assert_array_equal(grounds[1], image[..., 1])


def curves(gold: dict[int, list[float]]) -> pd.DataFrame:
    """Histories of one experiment: a look after every second update, none after the last."""
    columns = ["ep_rew_mean", "proxy", "gold", "action_entropy"]
    parts = []
    for seed, values in gold.items():
        steps = np.arange(1, 2 * len(values) + 1)
        looks = np.full(len(steps), np.nan)
        looks[1::2] = values
        parts.append(
            pd.DataFrame(
                {"experiment": "rl", "seed": seed, "steps": steps, "val_gold": looks}
                | {"val_proxy": looks + 0.1}
                | dict.fromkeys(columns, 0.5)
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_every_seed_has_its_own_curve_beside_the_mean() -> None:
    figure = draw_learning_curves(curves({1: [0.5, 0.6], 2: [0.6, 0.7], 3: [0.7, 0.5]}))
    reward, training, validation, entropy = figure.axes
    assert [len(ax.lines) for ax in (reward, training, entropy)] == [4, 8, 4]
    of_mean = {line.get_label(): list(line.get_ydata()) for line in validation.lines}
    assert of_mean["gold: the ground truth"] == pytest.approx([0.6, 0.6])
    assert of_mean["proxy: the reward network"] == pytest.approx([0.7, 0.7])


def test_the_mean_goes_as_far_as_every_seed_went() -> None:
    figure = draw_learning_curves(curves({1: [0.5, 0.6, 0.7], 2: [0.6, 0.5]}))
    mean = next(line for line in figure.axes[2].lines if line.get_label().startswith("gold"))
    assert list(mean.get_xdata()) == [2, 4]


def test_kept_policies_and_ends_of_training_are_marked() -> None:
    figure = draw_learning_curves(curves({1: [0.5, 0.6, 0.4], 2: [0.6, 0.5]}))
    marks = {
        kind: sorted(
            (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
            for line in figure.axes[2].lines
            if line.get_marker() == kind
        )
        for kind in "ox"
    }
    assert marks == {"o": [(2, 0.6), (4, 0.6)], "x": [(4, 0.5), (6, 0.4)]}
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [names.count(name) for name in ("kept policy", "end of training")] == [1, 1]


def test_without_validation_images_the_other_curves_are_drawn() -> None:
    bare = curves({1: [0.5, 0.6]}).drop(columns=["val_gold", "val_proxy"])
    figure = draw_learning_curves(bare)
    assert [len(ax.lines) for ax in figure.axes] == [2, 4, 0, 2]
