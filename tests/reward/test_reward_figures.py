import numpy as np
import pandas as pd
import pytest

from vesselrl.datasets.figure import FigureDataset
from vesselrl.reward.figures import draw_report_card

HISTORY = pd.DataFrame(
    {"member": [0, 0, 1], "iteration": [5, 10, 5], "loss": [3, 2, 3.5], "tau": [0, 0.5, 0.1]}
)


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
                "predicted_raw": noisy,
                "confidence": rng.random(40),
            }
        )
    return images


@pytest.mark.parametrize("counts", [(6, 4), (1, 0), (80, 90)])
def test_the_card_is_drawn_for_any_number_of_images(tmp_path, counts):
    figure = draw_report_card({"val": scores(counts[0], 0), "test": scores(counts[1], 1)}, HISTORY)
    file = FigureDataset(filepath=str(tmp_path / "card.png"), dots_per_inch=50)
    file.save(figure)
    assert len(file.load()) > 5000
    texts = " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
    assert f"{40 * counts[0]:,} masks" in texts
    assert ("no test images" in texts) == (counts[1] == 0)


def test_the_same_scores_give_the_same_picture(tmp_path):
    files = [FigureDataset(filepath=str(tmp_path / f"{n}.png"), dots_per_inch=50) for n in "ab"]
    for file in files:
        file.save(draw_report_card({"val": scores(5, 0), "test": scores(5, 1)}, HISTORY))
    assert files[0].load() == files[1].load()
