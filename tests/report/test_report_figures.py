"""What the figures show."""

import numpy as np
import pandas as pd

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


def test_every_seed_has_its_own_curve() -> None:
    columns = ["ep_rew_mean", "proxy", "gold", "val_gold", "action_entropy"]
    parts = [
        pd.DataFrame(
            {"experiment": "rl", "seed": seed, "steps": [1, 2], **dict.fromkeys(columns, 0.5)}
        )
        for seed in (1, 2, 3)
    ]
    figure = draw_learning_curves(pd.concat(parts))
    reward, proxy_and_gold, entropy = figure.axes
    assert [len(ax.lines) for ax in (reward, proxy_and_gold, entropy)] == [4, 12, 4]
